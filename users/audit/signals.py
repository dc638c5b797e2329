"""Log-ins, and what people change about how they log in, noted as Django and allauth tell of them."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account
from allauth.mfa import signals as mfa
from allauth.socialaccount import signals as sso
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import Signal, receiver

from .log import note


@receiver(user_logged_in)
def _logged_in(sender: Any, request: Any, user: Any, **_: Any) -> None:
    note("login.succeed", user.get_username(), actor=user)


@receiver(user_logged_out)
def _logged_out(sender: Any, request: Any, user: Any, **_: Any) -> None:
    if user is not None:
        note("logout", user.get_username(), actor=user)


@receiver(user_login_failed)
def _failed(sender: Any, credentials: dict[str, Any], **_: Any) -> None:
    from users.models import User

    name = str(credentials.get("username") or "")[:150]
    # Who types the password into the field of the name must not find it in a log.
    known = User.objects.filter(username=name).exists()
    note("login.fail", name if known else "an unknown name")


@receiver([account.password_set, account.password_changed, account.password_reset])
def _password(sender: Any, user: Any, signal: Signal, **_: Any) -> None:
    note("password.reset" if signal is account.password_reset else "password.change", user.get_username(), actor=user)


@receiver(account.email_confirmed)
def _confirmed(sender: Any, email_address: Any, **_: Any) -> None:
    note("email.confirm", email_address.user.get_username(), actor=email_address.user, email=email_address.email)


@receiver([account.email_added, account.email_removed])
def _address(sender: Any, user: Any, email_address: Any, signal: Signal, **_: Any) -> None:
    verb = "email.add" if signal is account.email_added else "email.remove"
    note(verb, user.get_username(), actor=user, email=email_address.email)


@receiver(account.email_changed)
def _main_address(sender: Any, user: Any, to_email_address: Any, **_: Any) -> None:
    note("email.change", user.get_username(), actor=user, email=to_email_address.email)


@receiver([mfa.authenticator_added, mfa.authenticator_removed, mfa.authenticator_reset])
def _factor(sender: Any, user: Any, authenticator: Any, signal: Signal, **_: Any) -> None:
    verbs = {mfa.authenticator_added: "factor.add", mfa.authenticator_removed: "factor.remove"}
    note(verbs.get(signal, "factor.reset"), user.get_username(), actor=user, kind=authenticator.type)


@receiver(mfa.authentication_failed)
def _factor_failed(sender: Any, user: Any, authenticator: Any, **_: Any) -> None:
    note("factor.fail", user.get_username(), kind=authenticator.type)


@receiver(sso.social_account_added)
def _linked(sender: Any, sociallogin: Any, **_: Any) -> None:
    said = sociallogin.account
    note("sso.link", sociallogin.user.get_username(), actor=sociallogin.user, provider=said.provider, uid=said.uid)


@receiver(sso.social_account_removed)
def _unlinked(sender: Any, socialaccount: SocialAccount, **_: Any) -> None:
    user = socialaccount.user
    note("sso.unlink", user.get_username(), actor=user, provider=socialaccount.provider, uid=socialaccount.uid)
