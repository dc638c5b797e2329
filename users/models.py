"""Accounts, tokens, projects and roles."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.db import models
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


class User(AbstractUser):
    """An account."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)


class ProjectRole(models.TextChoices):
    """What a member may do in a project; each includes the ones before it."""

    VIEWER = "viewer"
    MEMBER = "member"
    ADMIN = "admin"


class ProjectQuerySet(models.QuerySet["Project"]):
    """Projects, filtered by who asks."""

    def visible_to(self, user: Any) -> ProjectQuerySet:
        """Return the projects of which the user is a member."""
        return self.filter(memberships__user=user)


class Project(models.Model):
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

    name = models.CharField(max_length=100, default="token")
    scopes = models.JSONField(default=list)
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE)
    """If set, the token works for this project alone, and only while its user is a member."""
    last_used_at = models.DateTimeField(null=True)
    last_address = models.GenericIPAddressField(null=True)
