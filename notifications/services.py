"""What is done with channels: called by the API and the pages alike."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import transaction

from users.audit import note
from users.models import User

from . import targets
from .models import Channel, Notification

EVENTS = ("finished", "failed", "cancelled", "needs_operator", "needs_approval", "approved", "asks_person")
MAX_CHANNELS = 20


class ChannelError(ValueError):
    """A channel that cannot be had. ``path`` is the field that is wrong."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


def create_channel(user: User, name: str, url: str, events: Iterable[str] = ()) -> Channel:
    """Add a place where a user wants to be told.

    Parameters
    ----------
    events
        Of :data:`EVENTS`; none for all.

    Raises
    ------
    ChannelError
        If the URL cannot be used, an event is unknown, or the user has too many channels.
    """
    chosen = list(dict.fromkeys(events))
    name = name.strip()
    if unknown := [event for event in chosen if event not in EVENTS]:
        raise ChannelError("events", f"{unknown[0][:50]!r} is not one of {', '.join(EVENTS)}.")
    if len(name) > 100 or not name.isprintable():
        raise ChannelError("name", "A name has at most 100 printable characters.")
    try:
        targets.check(url.strip())
    except targets.TargetError as error:
        raise ChannelError("url", str(error)) from error
    with transaction.atomic():
        if Channel.objects.filter(user=user).count() >= MAX_CHANNELS:
            raise ChannelError("url", f"You have {MAX_CHANNELS} channels already. Delete one first.")
        channel = Channel.objects.create(
            user=user, name=name or targets.service_of(url.strip()), url=url.strip(), events=chosen
        )
        _note("create", channel)
    return channel


def delete_channel(channel: Channel) -> None:
    """Tell a user nothing there any more; what waits to be sent there is dropped."""
    with transaction.atomic():
        _note("delete", channel)
        channel.delete()


def send_test(channel: Channel) -> Notification:
    """Queue a message that shows whether a channel works."""
    from .outbox import ring

    with transaction.atomic():
        notification = Notification.objects.create(
            user=channel.user,
            channel=channel,
            event="test",
            title="octolab can reach you here",
            body="This is the test that you asked for.",
        )
        _note("test", channel)
        transaction.on_commit(ring)
    return notification


def _note(verb: str, channel: Channel) -> None:
    """Write into the audit log whose channel it is and to which service; its address is a secret."""
    service = targets.service_of(channel.url)
    note(f"channel.{verb}", channel.pk, of=channel.user.username, name=channel.name, service=service)
