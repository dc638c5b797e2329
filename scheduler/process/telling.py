"""Telling people: messages are queued in the transaction that changed the state, and delivered by others later."""

from __future__ import annotations

from notifications.models import Channel, Notification
from scheduler.process.live import LiveJob

_TITLES = {
    "finished": "Job {name} is finished",
    "failed": "Job {name} has failed",
    "cancelled": "Job {name} was cancelled",
    "needs_operator": "Job {name} needs an operator",
}


def tell(outbox: list[tuple[LiveJob, str]]) -> None:
    """Queue a message for each channel of each job's owner that wants to hear of the event."""
    owners = {job.owner_id for job, _ in outbox}
    channels: dict[str, list[Channel]] = {}
    for channel in Channel.objects.filter(user_id__in=owners, enabled=True):
        channels.setdefault(str(channel.user_id), []).append(channel)
    Notification.objects.bulk_create(
        Notification(
            user_id=channel.user_id,
            channel=channel,
            event=event,
            job_id=job.id,
            title=_TITLES[event].format(name=job.name)[:200],
            body=_body(job),
        )
        for job, event in outbox
        for channel in channels.get(job.owner_id, ())
        if not channel.events or event in channel.events
    )


def _body(job: LiveJob) -> str:
    lines = [job.reason] if job.reason else []
    if job.samples_failed:
        lines.append(f"{job.samples_failed} of {job.samples_total} samples failed.")
    return "\n".join(lines)
