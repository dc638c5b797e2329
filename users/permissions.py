"""The one permission layer: what every route demands of who asks.

A view declares ``access``, a mapping from method to what it takes; a method that is not declared does not exist.
What objects somebody may see is decided by ``Model.objects.visible_to(user)``, and what is not visible is a 404;
what may be done to an object that is visible is decided by the functions below.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import PermissionDenied as NotAllowed
from django.db import connection
from rest_framework.exceptions import MethodNotAllowed, NotAuthenticated, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from .models import LabRole, Membership, Project, ProjectRole, Scope, Token, User


@dataclass(frozen=True)
class Access:
    """What a route takes."""

    scope: str | None = None
    """The scope that a token needs; a session has all."""
    lab_role: str | None = None
    """The lab role that the user needs, whatever the credential."""
    public: bool = False
    """Whether no credential is needed."""


PUBLIC = Access(public=True)
LOGGED_IN = Access()


def needs(scope: Scope, *, lab_role: LabRole.Role | None = None) -> Access:
    """Return the demand for a scope, and for a lab role if given."""
    return Access(scope=scope, lab_role=lab_role)


class DeclaredAccess(BasePermission):
    """Let a request through if it meets what its view declares."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return True, or raise what tells the asker which credential, scope or role is missing."""
        demand = demanded(view, request.method or "")
        if demand is None:
            raise MethodNotAllowed(request.method or "")
        if demand.public:
            return True
        if not request.user.is_authenticated:
            raise NotAuthenticated("Send a token as 'Authorization: Bearer …', or log in.")
        if demand.scope is not None and not has_scope(request, demand.scope):
            raise PermissionDenied(f"This token lacks the scope '{demand.scope}'. Make one that has it.")
        if demand.lab_role is not None and request.user.lab_role(demand.lab_role) is None:
            raise PermissionDenied(f"Only a lab {demand.lab_role} may do this.")
        return True


def demanded(view: Any, method: str) -> Access | None:
    """Return what a view demands for a method, None if it does not take the method.

    Raises
    ------
    ImproperlyConfigured
        If the view declares nothing at all: nobody has thought about who may use it.
    """
    declared: Mapping[str, Access] | None = getattr(view, "access", None)
    if declared is None:
        raise ImproperlyConfigured(f"{type(view).__name__} declares no access")
    return declared.get("GET" if method == "HEAD" else method)


def has_scope(request: Request, scope: str) -> bool:
    """Tell whether the credential of a request covers a scope. A session covers all."""
    return not isinstance(request.auth, Token) or scope in request.auth.scopes


def project_role(user: User, project: Project) -> str | None:
    """Return the user's role in a project, None for who has none."""
    if user.only_project_id not in {None, project.pk}:
        return None
    return Membership.objects.filter(user=user, project=project).values_list("role", flat=True).first()


_MINE = """
    SELECT project.*, membership.role AS my_role FROM users_project project
    JOIN users_membership membership ON membership.project_id = project.id
    WHERE membership.user_id = %s AND """
"""Raw, because it runs at every submit and composing a query takes longer than running it."""


def my_project(user: User, slug: str | None) -> tuple[Project, str] | None:
    """Return one of the user's projects with the role in it, None if there is no such project of the user's.

    Parameters
    ----------
    slug
        Short name; None for the default: the one project of the user's token, or else the personal one.
    """
    if not user.is_active:
        return None
    condition, value = ("project.slug = %s", slug) if slug is not None else ("project.personal_of_id = %s", user.pk)
    if user.only_project_id is not None and slug is None:
        condition, value = "project.id = %s", user.only_project_id
    key = User._meta.pk
    values = [key.get_db_prep_value(item, connection) if isinstance(item, UUID) else item for item in (user.pk, value)]
    for project in Project.objects.raw(_MINE + condition, values):
        if user.only_project_id in {None, project.pk}:
            return project, project.my_role  # type: ignore[attr-defined]
    return None


def may_submit(user: User, project: Project) -> bool:
    """Tell whether the user may submit jobs to a project."""
    return project_role(user, project) in {ProjectRole.MEMBER, ProjectRole.ADMIN}


def may_change(user: User, job: Any) -> bool:
    """Tell whether the user may cancel or change a job: its owner (as long as a member), or an admin of its project."""
    role = project_role(user, job.project)
    return role == ProjectRole.ADMIN or (role == ProjectRole.MEMBER and job.owner_id == user.pk)


def require(allowed: bool, message: str) -> None:
    """Raise Django's ``PermissionDenied``, which API and pages both understand, with the message unless allowed."""
    if not allowed:
        raise NotAllowed(message)
