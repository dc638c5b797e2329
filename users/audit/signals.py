"""Log-ins, noted as Django tells of them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver

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
