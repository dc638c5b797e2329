"""Every wish of a person stands in the audit log: written down with the request's row, in its transaction."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from scheduler.models import Request
from users.audit import note

_NOUNS = {"decide": "step", "answer": "step", "settle": "step", "refill": "stock", "collect": "sample"}


@receiver(post_save, sender=Request)
def _wished(sender: Any, instance: Request, created: bool, **_: Any) -> None:
    if not created:
        return
    noun = _NOUNS.get(instance.verb, "job" if instance.job_id else "lab")
    subject = instance.payload.get(noun) or instance.job_id or ""
    note(
        f"{noun}.{instance.verb}",
        subject,
        actor=instance.actor,
        project=instance.job.project if instance.job is not None else None,
        **{key: value for key, value in instance.payload.items() if key not in (noun, "actor", "project")},
    )
