"""How people come in: sign-up as the lab sets, invitations, second factors."""
