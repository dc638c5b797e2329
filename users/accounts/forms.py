"""Forms whose fields are named as they always were here."""

from __future__ import annotations

from allauth.account.forms import LoginForm as AllauthLoginForm


class LoginForm(AllauthLoginForm):
    """Signing in with a user name."""

    def add_prefix(self, field_name: str) -> str:
        """Return the field's name in the page."""
        return super().add_prefix("username" if field_name == "login" else field_name)
