"""Inviting people, and letting those in who have signed up."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from axes.utils import reset as reset_tries
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import send_mail
from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from users.audit import note
from users.models import LabPolicy, LabRole, Membership, Project, ProjectRole, User
from users.services import AccountError, activate, deactivate, free_slug

from .models import Invitation, SignUp

VALID_DAYS = 7
OFF = "Sign-up is off, and the link opens nothing until the lab takes who is invited:"


class Sent(NamedTuple):
    """An invitation, its link, which cannot be shown again, and a sentence that says how its mail fared."""

    invitation: Invitation
    link: str
    mailed: str


def invite(email: str, project: Project | None = None, *, by: str = "") -> Sent:
    """Invite somebody by mail.

    Raises
    ------
    AccountError
        If this is no e-mail address, or somebody has it already.
    """
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise AccountError("email", "This is no e-mail address.") from error
    if User.objects.filter(email__iexact=email).exists():
        raise AccountError("email", "Somebody with this address has an account already.")
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            email=email,
            digest=_digest(secret),
            project=project,
            invited_by=by,
            expires_at=timezone.now() + timedelta(days=VALID_DAYS),
        )
        note("invitation.send", email, project=project)
    link = f"{settings.PUBLIC_URL}/invitation/{secret}"
    text = f"You are invited to octolab. Make your account within {VALID_DAYS} days:\n\n{link}\n"
    sent = send_mail("Your invitation to octolab", text, None, [email], fail_silently=True)
    if settings.EMAIL_BACKEND.endswith("filebased.EmailBackend"):
        return Sent(invitation, link, f"Give it to {email}: no mail server is set (OCTOLAB_SMTP_URL).")
    return Sent(invitation, link, f"It was mailed to {email}." if sent else f"NOT mailed: give it to {email} yourself.")


def withdraw(invitation: Invitation) -> None:
    """Let an invitation's link open nothing any more."""
    with transaction.atomic():
        if Invitation.objects.filter(pk=invitation.pk, used_at=None).delete()[0]:
            note("invitation.withdraw", invitation.email, project=invitation.project)


def open_invitation(secret: str) -> Invitation | None:
    """Return the invitation of a link's secret if it can still be used."""
    return _usable().filter(digest=_digest(secret)).first()


def by_id(pk: str | None) -> Invitation | None:
    """Return an invitation that can still be used."""
    return None if pk is None else _usable().filter(pk=pk).first()


def welcome(user: User, invitation: Invitation | None = None) -> None:
    """Give a new account its personal project, and what its invitation promises. Call it in one transaction with both.

    Raises
    ------
    AccountError
        If somebody else has used the invitation meanwhile.
    """
    project = Project.objects.create(slug=free_slug(user.username), name=user.username, personal_of=user)
    Membership.objects.create(user=user, project=project, role=ProjectRole.ADMIN)
    if invitation is None:
        SignUp.objects.create(user=user)
        note("user.signup", user.username, actor=user)
        return
    if not _usable().filter(pk=invitation.pk).update(used_at=timezone.now()):
        raise AccountError("invitation", "This invitation has been used already.")
    if invitation.project is not None:
        Membership.objects.create(user=user, project=invitation.project, role=ProjectRole.MEMBER)
    note("user.signup", user.username, actor=user, invited_by=invitation.invited_by)


def admit(user: User) -> None:
    """Let somebody in who has signed up."""
    with transaction.atomic():
        if SignUp.objects.filter(user=user).delete()[0]:
            activate(user)
    if user.email:
        send_mail("Your octolab account", f"You may sign in now: {settings.PUBLIC_URL}/login\n", None, [user.email],
                  fail_silently=True)  # fmt: skip


def turn_away(user: User) -> None:
    """Do not let somebody in; the name stays taken."""
    with transaction.atomic():
        if SignUp.objects.filter(user=user).delete()[0]:
            deactivate(user)


def reset_access(user: User) -> str:
    """Give somebody a new password who can sign in no more; return it, to be shown once.

    Sessions end, second factors are forgotten, and wrong tries too. Tokens stay: revoke those that may be lost.
    """
    password = secrets.token_urlsafe(12)
    with transaction.atomic():
        user.set_password(password)
        user.save(update_fields=["password"])
        Authenticator.objects.filter(user=user.pk).delete()
        reset_tries(username=user.username)
        note("access.reset", user.username)
    return password


def needs_second_factor(user: User) -> bool:
    """Tell whether the user's roles need a second factor, and the user has none."""
    return user.pk in lacking_a_factor({user.pk})


def lacking_a_factor(user_ids: set[UUID]) -> set[UUID]:
    """Return those of these users whose roles need a second factor, and who have none."""
    wanted = set(LabPolicy.current().mfa_for)
    if not wanted or not user_ids:
        return set()
    concerned = user_ids
    if "user" not in wanted:
        concerned = set(LabRole.objects.filter(user__in=user_ids, role__in=wanted).values_list("user", flat=True))
    return concerned - set(_factors().filter(user__in=concerned).values_list("user", flat=True))


def has_second_factor(user: User) -> bool:
    """Tell whether the user has an authenticator app or a passkey."""
    return _factors().filter(user=user.pk).exists()


def _factors() -> QuerySet[Authenticator]:
    return Authenticator.objects.filter(type__in=(Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN))


def verified(user: User, email: str) -> bool:
    """Tell whether an address is known to be the user's."""
    return EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists()


def _usable() -> QuerySet[Invitation]:
    return Invitation.objects.filter(used_at=None, expires_at__gt=timezone.now())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
