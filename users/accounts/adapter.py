"""How django-allauth makes accounts here."""

from __future__ import annotations

import logging
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage
from allauth.core import context as allauth_context
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from octolab.addresses import client_address
from users.models import LabPolicy, User
from users.services import AccountError, check_username

from . import services
from .models import Invitation

_log = logging.getLogger(__name__)
MAIL_AWAY = "No mail can be sent at present. Try again later, or ask an administrator of the lab."
INVITATION = "octolab_invitation"
"""Where the session keeps the id of the invitation by which somebody came."""


def invitation_of(request: HttpRequest) -> Invitation | None:
    """Return the invitation by which somebody came."""
    return services.by_id(request.session.get(INVITATION))


def may_sign_up(request: HttpRequest) -> bool:
    """Tell whether the lab lets this visitor make an account."""
    match LabPolicy.current().sign_up:
        case LabPolicy.SignUp.APPROVAL:
            return True
        case LabPolicy.SignUp.INVITATION:
            return invitation_of(request) is not None
        case _:
            return False


class AccountAdapter(DefaultAccountAdapter):
    """Accounts with a password."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether the lab lets this visitor make an account."""
        return may_sign_up(request)

    def save_user(self, request: HttpRequest, user: Any, form: Any, commit: bool = True) -> Any:
        """Save a new account with its personal project; without invitation it waits for an admin."""
        invitation = invitation_of(request)
        user.is_active = invitation is not None
        with transaction.atomic():
            super().save_user(request, user, form, commit=True)
            services.welcome(user, invitation)
        if invitation is not None:
            request.session.pop(INVITATION, None)
            if invitation.email == user.email.lower():
                # The link came by this address.
                self.stash_verified_email(request, user.email)
        return user

    def clean_username(self, username: str, shallow: bool = False) -> str:
        """Return the name if somebody may be called so."""
        name: str = super().clean_username(username, shallow)
        try:
            check_username(name)
        except AccountError as error:
            raise ValidationError(str(error)) from error
        return name

    def pre_login(self, request: HttpRequest, user: Any, **about: Any) -> HttpResponse | None:
        """Turn away who is not let in (yet).

        Who has just signed up verifies the address first, as who signs up with an address that has an account seems to.
        """
        addresses = list(EmailAddress.objects.filter(user=user).values_list("verified", flat=True))
        if about["signup"] and addresses and not any(addresses):
            return None
        return super().pre_login(request, user, **about)

    def login(self, request: HttpRequest, user: Any) -> None:
        """Sign somebody in, whatever stages came before."""
        if not user.is_active:
            raise ImmediateHttpResponse(self.respond_user_inactive(request, user))
        super().login(request, user)

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail; who cannot be reached for now, because the mail server is away, may ask for it again."""
        try:
            super().send_mail(template_prefix, email, context)
        except (OSError, SMTPException) as error:
            _log.error("a mail (%s) could not be sent: %s", template_prefix, error)
            messages.error(allauth_context.request, MAIL_AWAY, extra_tags="bad")

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address that the server itself vouches for."""
        return client_address(request) or "127.0.0.1"

    def get_login_stages(self) -> list[str]:
        """Return the stages, with ours for the address."""
        ours = "users.accounts.adapter.AddressStage"
        return [ours if name.endswith(".EmailVerificationStage") else name for name in super().get_login_stages()]


class AddressStage(EmailVerificationStage):
    """Ask those to verify their address who gave one themselves; an account made by an admin may have none."""

    def handle(self) -> Any:
        """Let pass, or send a mail first.

        There is no user if somebody signs up with an address that has an account: nobody shall see a difference.
        """
        if self.login.user is not None and not EmailAddress.objects.filter(user=self.login.user).exists():
            return None, True
        return super().handle()


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """Accounts by single sign-on."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        """Return whether the lab lets this visitor make an account."""
        return may_sign_up(request)

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> User:
        """Save a new account; without a form the account adapter is not asked."""
        if form is not None:
            return super().save_user(request, sociallogin, form)
        invitation = invitation_of(request)
        sociallogin.user.is_active = invitation is not None
        with transaction.atomic():
            user = super().save_user(request, sociallogin, form)
            services.welcome(user, invitation)
        request.session.pop(INVITATION, None)
        return user
