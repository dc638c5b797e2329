"""The ledger. The scheduler alone writes it, in the transaction of what it counts."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from users.models import Project


class Usage(models.Model):
    """How much of one thing a user has used for a project in a month."""

    class Kind(models.TextChoices):
        """What is counted."""

        MODULE = "module"
        """Time during which a module worked, in lab seconds; ``item`` is the module instance."""
        SAMPLE = "sample"
        """Samples that became final; ``item`` is the state."""
        STOCK = "stock"
        """A consumable, in the stock's unit; ``item`` is the stock."""

    month = models.DateField()
    """Its first day, UTC."""
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="usage")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    item = models.CharField(max_length=64)
    amount = models.FloatField(default=0.0)

    class Meta:
        app_label = "scheduler"
        constraints = [
            models.UniqueConstraint(fields=["month", "user", "project", "kind", "item"], name="one_row_per_use")
        ]
        indexes = [models.Index(fields=["project", "month"])]


class RecentUse(models.Model):
    """Module time of a user in a project, decayed: what fair share goes by."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    used_s = models.FloatField(default=0.0)
    """Lab seconds, as they counted at ``at_lab_s``."""
    at_lab_s = models.FloatField(default=0.0)

    class Meta:
        app_label = "scheduler"
        constraints = [models.UniqueConstraint(fields=["user", "project"], name="one_row_of_recent_use")]
