"""Settings of the lab that admins change while it runs, and quotas."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

MOST_HOURS = 1e6
MOST_JOBS = 1_000_000


def _hours() -> models.FloatField:  # type: ignore[type-arg]
    return models.FloatField(null=True, blank=True, validators=[MinValueValidator(0.0), MaxValueValidator(MOST_HOURS)])


def _jobs(default: int | None = None) -> models.IntegerField:  # type: ignore[type-arg]
    return models.IntegerField(
        null=True, blank=True, default=default, validators=[MinValueValidator(0), MaxValueValidator(MOST_JOBS)]
    )


class LabPolicy(models.Model):
    """What holds for everybody in the lab. One row."""

    class SignUp(models.TextChoices):
        """Who may make an account."""

        OFF = "off"
        INVITATION = "invitation"
        APPROVAL = "approval"

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sign_up = models.CharField(max_length=12, choices=SignUp.choices, default=SignUp.OFF)
    mfa_for = models.JSONField(default=list, blank=True)
    """Roles that need a second factor: of ``operator``, ``admin``, ``user``."""
    open_jobs_per_user = _jobs(5000)
    """None for no limit."""
    open_jobs_per_project = _jobs()
    module_hours_per_user = _hours()
    """Hours of module time in a calendar month (lab time)."""
    module_hours_per_project = _hours()
    rules = models.JSONField(default=dict, blank=True)
    """What jobs may use in projects that have no rules of their own, everybody's personal one among them:
    :class:`users.policies.rules.Rules`."""
    half_life_h = models.FloatField(default=168.0, validators=[MinValueValidator(0.1), MaxValueValidator(MOST_HOURS)])
    """After so many hours of lab time, use counts half for fair share."""

    class Meta:
        app_label = "users"

    @classmethod
    def current(cls) -> LabPolicy:
        """Return the settings in force."""
        return cls.objects.filter(pk=1).first() or cls()


class Quota(models.Model):
    """What one user or one project may have instead of the lab's usual; None for the usual."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )
    project = models.OneToOneField(
        "users.Project", null=True, blank=True, on_delete=models.CASCADE, related_name="quota"
    )
    open_jobs = _jobs()
    module_hours = _hours()

    class Meta:
        app_label = "users"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=True) ^ models.Q(project__isnull=True), name="quota_of_user_or_project"
            )
        ]
