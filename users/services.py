"""What is done to accounts, tokens and projects: called by the API, the pages and the commands alike."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from allauth.account.models import EmailAddress
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify

from .audit import note
from .models import LabRole, Membership, Project, ProjectRole, Scope, Token, User

DEFAULT_SCOPES: tuple[str, ...] = (Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.RESULTS_READ, Scope.DEVICES_READ)
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9@.+_-]*")
"""ASCII alone: names are what people know each other by, and other alphabets have the same letters once more."""
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class AccountError(ValueError):
    """A wish about accounts that cannot be granted.

    Attributes
    ----------
    path
        The field that is wrong.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def create_user(
    username: str, password: str | None = None, *, email: str = "", operator: bool = False, admin: bool = False
) -> User:
    """Create an account with its personal project.

    Parameters
    ----------
    password
        None for an account that cannot log in with one.
    email
        Counts as verified: who may make accounts vouches for it.

    Raises
    ------
    AccountError
        If the name is taken or not a name, or the password is too weak.
    """
    user = User(username=User.normalize_username(username), email=User.objects.normalize_email(email))
    try:
        User._meta.get_field("username").clean(user.username, user)
    except ValidationError as error:
        raise AccountError("username", " ".join(error.messages)) from error
    check_username(user.username)
    if password is not None:
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise AccountError("password", " ".join(error.messages)) from error
    user.set_password(password)
    with transaction.atomic():
        if User.objects.filter(username__iexact=user.username).exists():
            raise AccountError("username", f"There is a user {username!r} already.")
        user.save()
        if user.email:
            EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
        project = Project.objects.create(slug=free_slug(user.username), name=user.username, personal_of=user)
        Membership.objects.create(user=user, project=project, role=ProjectRole.ADMIN)
        note("user.create", user.username, email=bool(email))
        if operator:
            set_lab_role(user, LabRole.Role.OPERATOR)
        if admin:
            set_lab_role(user, LabRole.Role.ADMIN)
    return user


def check_username(username: str) -> None:
    """Refuse a name that looks like another one, or like a path; raise :class:`AccountError`."""
    if not _USERNAME.fullmatch(username):
        raise AccountError(
            "username", "A user name has letters from a to z, digits and @.+-_, and begins with a letter or a digit."
        )


def free_slug(username: str) -> str:
    """Return a short name for a personal project that nobody has."""
    base = slugify(username)[:50] or "user"
    slug, number = base, 1
    while Project.objects.filter(slug=slug).exists():
        number += 1
        slug = f"{base}-{number}"
    return slug


def set_lab_role(user: User, role: str, modules: list[str] | None = None) -> LabRole:
    """Make the user an operator (of the named modules, or of all) or an administrator of the lab.

    Raises
    ------
    AccountError
        If modules are named for a role that has nothing to do with them, or something that cannot be a module's name.
    """
    if modules is not None and role != LabRole.Role.OPERATOR:
        raise AccountError("modules", "Only operators are operators of modules.")
    for module in modules or ():
        if not _MODULE.fullmatch(module):
            raise AccountError("modules", f"{module[:100]!r} is not the name of a module.")
    with transaction.atomic():
        row = LabRole.objects.update_or_create(user=user, role=role, defaults={"modules": modules})[0]
        note("labrole.give", user.username, role=str(role), modules=modules)
    return row


def take_lab_role(user: User, role: str) -> None:
    """Take a role in the lab away, at once."""
    with transaction.atomic():
        if LabRole.objects.filter(user=user, role=role).delete()[0]:
            note("labrole.take", user.username, role=str(role))


def deactivate(user: User) -> None:
    """Lock an account: its password, sessions and tokens stop working at once. Nothing is deleted."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=False)
        note("user.deactivate", user.username)


def activate(user: User) -> None:
    """Unlock an account. Tokens that have not expired work again."""
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(is_active=True)
        note("user.activate", user.username)


def create_token(
    user: User,
    name: str = "token",
    scopes: Iterable[str] | None = None,
    *,
    project: Project | None = None,
    expires_at: datetime | None = None,
    agent: bool = False,
) -> tuple[Token, str]:
    """Create a token.

    Parameters
    ----------
    scopes
        None for :data:`DEFAULT_SCOPES`.
    project
        If given, the token works for this project alone.

    agent
        Whether a program decides what it submits; projects can have such jobs approved.

    Returns
    -------
    tuple of Token and str
        The secret is not kept and cannot be shown again.

    Raises
    ------
    AccountError
        If a scope is unknown, the user is no member of the project, or the expiry has passed.
    """
    chosen = list(dict.fromkeys(DEFAULT_SCOPES if scopes is None else scopes))
    for index, scope in enumerate(chosen):
        if scope not in Scope.values:
            raise AccountError(f"scopes/{index}", f"{scope!r} is not a scope. Scopes are {', '.join(Scope.values)}.")
    if project is not None and not Membership.objects.filter(user=user, project=project).exists():
        raise AccountError("project", "You are no member of such a project.")
    if expires_at is not None and expires_at <= timezone.now():
        raise AccountError("expires_at", "The expiry has passed already.")
    with transaction.atomic():
        token, secret = Token.objects.create(user, expiry=None, name=name, scopes=chosen, project=project, agent=agent)
        if expires_at is not None:
            token.expiry = expires_at
            token.save(update_fields=["expiry"])
        note(
            "token.create",
            token.uid,
            project=project,
            of=user.username,
            name=name,
            scopes=chosen,
            agent=agent,
            until=expires_at,
        )
    return token, secret


def revoke_token(token: Token) -> None:
    """Make a token useless, at once and for good."""
    with transaction.atomic():
        if Token.objects.filter(pk=token.pk).delete()[0]:
            note("token.revoke", token.uid, project=token.project, of=token.user.username, name=token.name)


def create_project(actor: User, slug: str, name: str = "") -> Project:
    """Create a shared project with its maker as first admin; raise :class:`AccountError` if the name is taken."""
    if not _SLUG.fullmatch(slug):
        raise AccountError("slug", "A short name has up to 63 lower-case letters, digits, '-' and '_'.")
    try:
        with transaction.atomic():
            project = Project.objects.create(slug=slug, name=name or slug)
            Membership.objects.create(user=actor, project=project, role=ProjectRole.ADMIN)
            note("project.create", project.slug, actor=actor, project=project)
    except IntegrityError as error:
        raise AccountError("slug", f"The short name {slug!r} is taken. Choose another.") from error
    return project


def add_member(project: Project, username: str, role: str = ProjectRole.MEMBER) -> Membership:
    """Give somebody a role in a project, or another role than before.

    Raises
    ------
    AccountError
        If there is no such active user, or the project would be left without an admin.
    """
    user = User.objects.filter(username=username, is_active=True).first()
    if user is None:
        raise AccountError("username", f"There is no user {username!r}.")
    with transaction.atomic():
        if role != ProjectRole.ADMIN:
            _keep_an_admin(project, user)
        row = Membership.objects.update_or_create(project=project, user=user, defaults={"role": role})[0]
        note("member.set", user.username, project=project, role=str(role))
    return row


def remove_member(project: Project, user: User) -> None:
    """Take a user out of a project; tokens for the project stop at once. Raise as :func:`add_member` does."""
    with transaction.atomic():
        _keep_an_admin(project, user)
        if Membership.objects.filter(project=project, user=user).delete()[0]:
            note("member.remove", user.username, project=project)


def _keep_an_admin(project: Project, leaving: User) -> None:
    if project.personal_of_id == leaving.pk:
        raise AccountError("role", "The owner of a personal project stays its admin.")
    # The rows are locked in one order, so that two admins who demote each other cannot both succeed.
    admins = Membership.objects.select_for_update().filter(project=project, role=ProjectRole.ADMIN).order_by("pk")
    if {row.user_id for row in admins} == {leaving.pk}:
        raise AccountError("role", "A project needs an admin. Make somebody else one first.")
