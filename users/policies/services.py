"""Changing the lab's settings and quotas."""

from __future__ import annotations

import math
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from users.audit import note
from users.models import Project, User
from users.services import AccountError

from .models import LabPolicy, Quota
from .rules import checked
from .text import names

SETTINGS = tuple(field.name for field in LabPolicy._meta.get_fields() if field.name != "id")
MFA_ROLES = ("operator", "admin", "user")


def change_policy(**changes: Any) -> LabPolicy:
    """Change settings of the lab; raise :class:`AccountError` naming the first that is wrong."""
    for name in changes:
        if name not in SETTINGS:
            raise AccountError(name[:100], f"This is not a setting of the lab. Settings are {', '.join(SETTINGS)}.")
    if isinstance(changes.get("mfa_for", []), str):
        changes["mfa_for"] = names(changes["mfa_for"])
    if unknown := set(changes.get("mfa_for") or ()) - set(MFA_ROLES):
        raise AccountError("mfa_for", f"{min(unknown)!r} is not one of {', '.join(MFA_ROLES)}.")
    if "rules" in changes:
        changes["rules"] = checked(
            changes["rules"] if isinstance(changes["rules"], dict) else {"rules": changes["rules"]}
        )
    with transaction.atomic():
        LabPolicy.objects.get_or_create(pk=1)
        policy = LabPolicy.objects.select_for_update().get(pk=1)
        before = {name: getattr(policy, name) for name in changes}
        for name, value in changes.items():
            setattr(policy, name, value)
        _checked(policy)
        policy.save()
        note("lab.policy", "lab", before=before, after=changes)
    return policy


def set_quota(of: User | Project, **limits: Any) -> Quota:
    """Set ``open_jobs`` and ``module_hours`` (a month) of a user or project; None for the lab's usual."""
    kind = "user" if isinstance(of, User) else "project"
    with transaction.atomic():
        quota = Quota.objects.filter(**{kind: of}).first() or Quota(**{kind: of})
        for name, value in limits.items():
            setattr(quota, name, value)
        _checked(quota)
        quota.save()
        project = of if isinstance(of, Project) else None
        note("quota.set", of.username if isinstance(of, User) else of.slug, project=project, of=kind, **limits)
    return quota


def _checked(row: LabPolicy | Quota) -> None:
    for field in row._meta.get_fields():
        value = getattr(row, field.name, None)
        if isinstance(value, float) and not math.isfinite(value):
            raise AccountError(field.name, "This has to be a number.")
    try:
        row.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise AccountError(name, " ".join(messages)) from error
