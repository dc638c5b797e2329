"""Delivery of the outbox: each message is claimed by a conditional update, sent, and marked.

A message is sent by one process only; after a crash between sending and marking it is sent once more. Each channel has
at most one message on the way, so a dead service holds up one thread for one timeout, and no other channel.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError, close_old_connections
from django.db.models import Min, Q
from django.utils import timezone

from scheduler.models import Job

from . import transport
from .models import Notification

_log = logging.getLogger(__name__)

SWEEP_EVERY_S = 2.0
THREADS = 4
LEASE = timedelta(minutes=5)
"""After this long a message that somebody claimed and did not mark is sent again."""
FIRST_RETRY = timedelta(seconds=30)
LONGEST_RETRY = timedelta(hours=1)
MAX_TRIES = 12
"""With the pauses between them, a service may be away for five hours."""
KEEP = timedelta(days=30)
PRUNE_EVERY = timedelta(hours=1)
_PER_CHANNEL = 50


def retry_after(tries: int) -> timedelta:
    """Return the pause after that many tries: doubled each time."""
    return min(LONGEST_RETRY, FIRST_RETRY * 2 ** min(tries - 1, 30))


def _due(now: datetime) -> Q:
    """Select what is to be sent now: also what is due later than any pause lasts, for then the clock was set back."""
    return Q(Q(next_try_at__lte=now) | Q(next_try_at__gt=now + LONGEST_RETRY), delivered_at=None, gave_up_at=None)


def due_channels(now: datetime) -> list[UUID]:
    """Return the channels that have something to deliver, the ones with fewest failures first."""
    due = Notification.objects.filter(_due(now), channel__isnull=False).values("channel_id")
    return [row["channel_id"] for row in due.annotate(fewest=Min("tries")).order_by("fewest", "channel_id")]


def deliver_channel(channel_id: UUID, send: transport.Transport) -> int:
    """Deliver what is due for a channel, until a try fails for a passing reason; return how many were delivered."""
    due = Notification.objects.filter(_due(timezone.now()), channel_id=channel_id)
    delivered = 0
    for notification in due.select_related("channel", "user").order_by("created_at", "id")[:_PER_CHANNEL]:
        if not claim(notification):
            continue
        outcome = _deliver(notification, send)
        if outcome is None:
            due.update(next_try_at=notification.next_try_at)
            break
        delivered += outcome
    return delivered


def claim(notification: Notification) -> bool:
    """Take a message for this process; False if another took it first.

    It is pushed into the future first, so that one that kills its process does not do so again at once.
    """
    lease_until = timezone.now() + LEASE
    mine = Notification.objects.filter(
        pk=notification.pk,
        tries=notification.tries,
        next_try_at=notification.next_try_at,
        delivered_at=None,
        gave_up_at=None,
    ).update(tries=notification.tries + 1, next_try_at=lease_until)
    if mine != 1:
        return False
    notification.tries += 1
    notification.next_try_at = lease_until
    return True


def forget_old(now: datetime) -> None:
    """Delete messages whose fate was decided long ago."""
    Notification.objects.filter(created_at__lt=now - KEEP).exclude(delivered_at=None, gave_up_at=None).delete()


def _deliver(notification: Notification, send: transport.Transport) -> bool | None:
    """Send one claimed message; return None if it has to be tried again."""
    channel = notification.channel
    now = timezone.now()
    if channel is None or not channel.enabled or not _may_know(notification):
        return _mark(
            notification, gave_up_at=now, error="The receiver may not see the job any more, or is switched off."
        )
    try:
        send(channel.url, notification.title, notification.body)
    except transport.TransportError as error:
        text, permanent = str(error), error.permanent
    except Exception as error:
        # Not its text: it may quote the URL.
        _log.error("notification %s: %s while sending", notification.pk, type(error).__name__)
        text, permanent = f"an error of the server while sending ({type(error).__name__})", False
    else:
        return _mark(notification, delivered_at=timezone.now(), error="")
    if permanent or notification.tries >= MAX_TRIES:
        return _mark(notification, gave_up_at=timezone.now(), error=text)
    notification.next_try_at = timezone.now() + retry_after(notification.tries)
    Notification.objects.filter(pk=notification.pk).update(next_try_at=notification.next_try_at, error=text)
    return None


def _may_know(notification: Notification) -> bool:
    if not notification.user.is_active:
        return False
    if notification.event == "needs_approval" and notification.user.operates():
        # Operators approve jobs of projects that they see nothing else of.
        return True
    return (
        notification.job_id is None or Job.objects.visible_to(notification.user).filter(pk=notification.job_id).exists()
    )


def _mark(notification: Notification, **fields: object) -> bool:
    Notification.objects.filter(pk=notification.pk).update(**fields)
    return "delivered_at" in fields


class Deliverer:
    """Delivers in the background: at each ring, and every few seconds in case a ring was lost.

    Parameters
    ----------
    send
        How a message leaves.
    sweep_every_s
        The longest wait between two looks into the outbox.
    """

    def __init__(self, send: transport.Transport = transport.send, sweep_every_s: float = SWEEP_EVERY_S) -> None:
        self._send = send
        self._sweep_every_s = sweep_every_s
        self._rung = threading.Event()
        self._stopping = False
        self._on_the_way: set[UUID] = set()
        self._lock = threading.Lock()
        self._senders = ThreadPoolExecutor(THREADS, thread_name_prefix="notify")
        self._sweeper = threading.Thread(target=self._sweep_on, name="notify-sweep", daemon=True)
        self._pruned_at: datetime | None = None

    def start(self) -> None:
        """Begin."""
        self._sweeper.start()

    def ring(self) -> None:
        """Look into the outbox now."""
        self._rung.set()

    def stop(self) -> None:
        """End, when what is on the way has arrived or timed out."""
        self._stopping = True
        self._rung.set()
        self._sweeper.join()
        self._senders.shutdown(wait=True, cancel_futures=True)

    def _sweep_on(self) -> None:
        while not self._stopping:
            try:
                self._sweep()
            except DatabaseError:
                _log.exception("the outbox cannot be read; trying again")
            finally:
                close_old_connections()
            self._rung.wait(self._sweep_every_s)
            self._rung.clear()

    def _sweep(self) -> None:
        now = timezone.now()
        for channel_id in due_channels(now):
            with self._lock:
                if channel_id in self._on_the_way:
                    continue
                self._on_the_way.add(channel_id)
            self._senders.submit(self._deliver, channel_id)
        if self._pruned_at is None or now - self._pruned_at > PRUNE_EVERY:
            self._pruned_at = now
            forget_old(now)

    def _deliver(self, channel_id: UUID) -> None:
        try:
            deliver_channel(channel_id, self._send)
        except DatabaseError:
            _log.exception("a message cannot be marked; trying again")
        finally:
            close_old_connections()
            with self._lock:
                self._on_the_way.discard(channel_id)
