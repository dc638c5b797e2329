"""Delivery: once, again after passing errors, not for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from notifications import delivery, transport
from notifications.delivery import LEASE, MAX_TRIES, claim, deliver_channel, due_channels, retry_after
from notifications.models import Channel, Notification
from notifications.outbox import enqueue
from notifications.services import create_channel
from scheduler.models import Job
from tests.notifications.chat import Chat
from tests.services import free_port
from users.models import Membership, User


def deliver(channel: Channel) -> int:
    return deliver_channel(channel.pk, transport.send)


def wait(pause: timedelta) -> None:
    """Let time pass, by moving what is stored into the past."""
    Notification.objects.update(next_try_at=F("next_try_at") - pause)


def test_a_message_arrives_once(job: Job, channel: Channel, chat: Chat) -> None:
    enqueue("finished", job)
    assert due_channels(timezone.now()) == [channel.pk]
    assert deliver(channel) == 1
    assert deliver(channel) == 0
    [message] = chat.messages
    notification = Notification.objects.get()
    assert (message["title"], message["message"]) == (notification.title, notification.body)
    assert notification.delivered_at is not None
    assert due_channels(timezone.now()) == []


def test_only_one_of_two_services_claims_a_message(job: Job, channel: Channel) -> None:
    enqueue("finished", job)
    one, other = Notification.objects.get(), Notification.objects.get()
    assert claim(one)
    assert not claim(other)
    assert due_channels(timezone.now()) == [], "nobody else even looks at it"
    wait(LEASE)
    assert claim(Notification.objects.get()), "a service that died has it no longer"
    assert not claim(one)


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_passing_error_is_tried_again_later(job: Job, channel: Channel, chat: Chat, status: int) -> None:
    enqueue("finished", job)
    chat.answers = [status]
    assert deliver(channel) == 0
    notification = Notification.objects.get()
    assert (notification.error, notification.gave_up_at) == (f"the service answered {status}", None)
    assert deliver(channel) == 0
    assert chat.calls == 1, "not before its time"
    wait(retry_after(1))
    assert deliver(channel) == 1
    assert Notification.objects.get().error == ""


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_lasting_error_is_not_tried_again(job: Job, channel: Channel, chat: Chat, status: int) -> None:
    enqueue("finished", job)
    chat.answers = [status]
    deliver(channel)
    wait(timedelta(days=1))
    deliver(channel)
    notification = Notification.objects.get()
    assert (chat.calls, notification.error) == (1, f"the service answered {status}")
    assert notification.gave_up_at is not None


def test_it_gives_up_in_the_end(job: Job, channel: Channel, chat: Chat) -> None:
    enqueue("finished", job)
    chat.answers = [503] * (MAX_TRIES + 5)
    for tries in range(MAX_TRIES + 5):
        deliver(channel)
        wait(retry_after(tries + 1))
    notification = Notification.objects.get()
    assert (chat.calls, notification.tries) == (MAX_TRIES, MAX_TRIES)
    assert notification.gave_up_at is not None
    assert notification.delivered_at is None


def test_pauses_double_up_to_a_limit() -> None:
    pauses = [retry_after(tries) for tries in range(1, 60)]
    assert pauses[:3] == [timedelta(seconds=30), timedelta(minutes=1), timedelta(minutes=2)]
    assert max(pauses) == timedelta(hours=1)
    assert pauses == sorted(pauses)


def test_a_dead_service_is_tried_once_for_all_its_messages(job: Job, channel: Channel, chat: Chat) -> None:
    for _ in range(5):
        enqueue("finished", job)
    chat.answers = [503]
    assert deliver(channel) == 0
    assert chat.calls == 1
    assert due_channels(timezone.now()) == []
    wait(retry_after(1))
    assert deliver(channel) == 5


def test_an_unreachable_service_is_a_passing_error(ann: User, job: Job, private_allowed: None) -> None:
    channel = create_channel(ann, "", f"json://127.0.0.1:{free_port()}/")
    enqueue("finished", job)
    deliver(channel)
    notification = Notification.objects.get()
    assert notification.gave_up_at is None
    assert "cannot be reached" in notification.error


def test_channels_that_fail_come_last(ann: User, job: Job, channel: Channel, chat: Chat) -> None:
    enqueue("finished", job)
    chat.answers = [503]
    deliver(channel)
    wait(retry_after(1))
    healthy = create_channel(ann, "", chat.url())
    enqueue("failed", job)
    Notification.objects.filter(channel=channel, event="failed").delete()
    assert due_channels(timezone.now()) == [healthy.pk, channel.pk]


@pytest.mark.parametrize("change", ["membership", "inactive", "channel"])
def test_who_may_not_see_the_job_any_more_is_not_told(
    ann: User, job: Job, channel: Channel, chat: Chat, change: str
) -> None:
    enqueue("finished", job)
    match change:
        case "membership":
            Membership.objects.filter(user=ann).delete()
        case "inactive":
            User.objects.filter(pk=ann.pk).update(is_active=False)
        case "channel":
            Channel.objects.update(enabled=False)
    assert deliver(channel) == 0
    assert chat.calls == 0
    assert Notification.objects.get().gave_up_at is not None


def test_an_error_of_our_own_keeps_the_secret_and_the_message(job: Job, channel: Channel, caplog: Any) -> None:
    enqueue("finished", job)

    def broken(url: str, title: str, body: str) -> None:
        raise RuntimeError(url)

    deliver_channel(channel.pk, broken)
    notification = Notification.objects.get()
    assert (notification.error, notification.gave_up_at) == (
        "an error of the server while sending (RuntimeError)",
        None,
    )
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localtest"])
def test_no_private_address_is_called(
    ann: User, job: Job, chat: Chat, settings: Any, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Even if the URL was good when it was added, or if a public name resolves to a private address."""
    settings.NOTIFY_PRIVATE = False
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda name, *args, **kw: real("127.0.0.1" if name == "localtest" else name, *args, **kw)
    )
    channel = Channel.objects.create(user=ann, name="x", url=chat.url(host))
    enqueue("finished", job)
    deliver(channel)
    notification = Notification.objects.get()
    assert (chat.calls, notification.gave_up_at is not None) == (0, True)
    assert "public addresses" in notification.error
    assert host not in notification.error
    settings.NOTIFY_PRIVATE = True
    transport.send(chat.url(host), "t", "b")
    assert chat.calls == 1, "the guard is the reason"


def test_redirects_are_not_followed(job: Job, channel: Channel, chat: Chat) -> None:
    enqueue("finished", job)
    other = Chat()
    try:
        chat.answers, chat.location = [302], f"http://127.0.0.1:{other.port}/"
        deliver(channel)
        assert (chat.calls, other.calls) == (1, 0)
    finally:
        other.close()


def test_old_messages_are_forgotten(job: Job, channel: Channel) -> None:
    enqueue("finished", job)
    enqueue("finished", job)
    deliver(channel)
    enqueue("finished", job)
    Notification.objects.update(created_at=timezone.now() - delivery.KEEP - timedelta(days=1))
    delivery.forget_old(timezone.now())
    assert [n.delivered_at for n in Notification.objects.all()] == [None], "what still waits is kept"


def test_a_clock_that_was_set_back_holds_up_no_message(job: Job, channel: Channel, chat: Chat) -> None:
    enqueue("finished", job)
    wait(-timedelta(days=1))
    assert due_channels(timezone.now()) == [channel.pk]
    assert deliver(channel) == 1
