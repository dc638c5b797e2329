"""Accounts, tokens, projects and roles."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils.functional import cached_property
from knox.models import AbstractAuthToken

from octolab.ids import new_id


class Scope(models.TextChoices):
    """What a token may be used for."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    RESULTS_READ = "results:read"
    DEVICES_READ = "devices:read"
    DEVICES_CONTROL = "devices:control"
    ADMIN = "admin"


class User(AbstractUser):  # type: ignore[django-manager-missing]
    """An account."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)

    only_project_id: UUID | None = None
    """Set for the length of a request by a token that works for one project alone; every ``visible_to`` heeds it."""

    def lab_role(self, role: str) -> LabRole | None:
        """Return the user's row for a lab role, or None. Read once for the length of a request.

        A token that works for one project carries no lab role.
        """
        return None if self.only_project_id is not None else self._lab_roles.get(role)

    def operates(self, module: str | None = None) -> bool:
        """Tell whether the user is an operator: of this module, or (None) of any."""
        row = self.lab_role(LabRole.Role.OPERATOR)
        return row is not None and (module is None or row.modules is None or module in row.modules)

    @property
    def is_lab_admin(self) -> bool:
        """Whether the user administers the lab. That does not make an operator."""
        return self.lab_role(LabRole.Role.ADMIN) is not None

    @cached_property
    def _lab_roles(self) -> dict[str, LabRole]:
        return {row.role: row for row in self.lab_roles.all()}


def of_visible_projects(user: Any, prefix: str = "") -> models.Q:
    """Return the condition “belongs to a project that the user may see”; ``prefix`` leads to the project.

    The one place that says what is visible. Who is nobody, or not active, sees nothing.
    """
    if not user.is_active:
        return models.Q(pk__in=())
    condition = models.Q(**{f"{prefix}memberships__user": user.pk})
    if user.only_project_id is not None:
        condition &= models.Q(**{f"{prefix}memberships__project": user.only_project_id})
    return condition


class ProjectRole(models.TextChoices):
    """What a member may do in a project; each includes the ones before it."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


class ProjectQuerySet(models.QuerySet["Project"]):
    """Projects, filtered by who asks."""

    def visible_to(self, user: Any) -> ProjectQuerySet:
        """Return the projects of which the user is a member."""
        return self.filter(of_visible_projects(user))


class Project(models.Model):  # type: ignore[django-manager-missing]
    """What a job belongs to. Everybody has a personal one; others are shared."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    slug = models.SlugField(unique=True, max_length=64)
    name = models.CharField(max_length=200)
    personal_of = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="personal_project",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    share = models.FloatField(default=1.0)
    """Its part of the lab, in proportion to those of the other projects that want something at the time."""
    shows_names = models.BooleanField(default=False)
    """Whether everybody in the lab may see the names of its jobs in the plan."""
    policy = models.JSONField(default=dict, blank=True)
    """What its jobs may use, and what an operator has to approve: :class:`users.policies.rules.Rules`."""

    objects = ProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return self.slug


class Membership(models.Model):
    """A user's role in a project."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=ProjectRole.choices, default=ProjectRole.MEMBER)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="one_role_per_project")]


class LabRole(models.Model):
    """A role in the lab: operator of all or of named modules, or administrator. Neither includes the other."""

    class Role(models.TextChoices):
        """The roles."""

        OPERATOR = "operator"
        ADMIN = "admin"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="lab_roles")
    role = models.CharField(max_length=10, choices=Role.choices)
    modules = models.JSONField(null=True, blank=True)
    """Module instances that an operator may operate; null for all."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "role"], name="one_row_per_lab_role")]


class Token(AbstractAuthToken):
    """A credential for programs: stored hashed, shown once."""

    uid = models.UUIDField(unique=True, default=new_id, editable=False)
    """What the API calls its id: says nothing about the secret."""
    name = models.CharField(max_length=100, default="token")
    scopes = models.JSONField(default=list)
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE)
    """If set, the token works for this project alone, and only while its user is a member."""
    agent = models.BooleanField(default=False)
    """Whether a program decides what it submits: projects can require that a person approves its jobs."""
    last_used_at = models.DateTimeField(null=True)
    last_address = models.GenericIPAddressField(null=True)


# Django looks for models here.
from .audit.models import AuditEntry, AuditHead  # noqa: E402, F401
from .policies.models import LabPolicy, Quota  # noqa: E402, F401
