"""``manage.py scheduler``: lead the lab, or wait until the one that leads is gone."""

from __future__ import annotations

import gc
import signal
import threading
import time
from types import FrameType
from typing import Any

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from analysis.documents import DocumentStore, StoreUnavailableError
from modules.contract.clock import LabClock, attach
from modules.contract.lab import LabFileError, load
from modules.contract.ready import announce_ready
from scheduler.process.leader import POLL_S, Leadership, LeadershipLostError
from scheduler.process.loop import Scheduler

log = structlog.get_logger("octolab.scheduler")

WARM_WITHIN_S = 10.0
"""The scheduler calls itself ready after so long (real seconds), even if it cannot answer all questions yet."""


GARBAGE = 100_000
"""New objects after which the collector looks at them."""


class Command(BaseCommand):
    """See the module's docstring."""

    help = "Run the scheduler process: the only writer of states and plan."
    # They would load every view of the web, and half as much memory again.
    requires_system_checks = ()

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until SIGTERM or SIGINT."""
        # A plan is hundreds of thousands of small objects: the collector would look at all of them again and again.
        gc.set_threshold(GARBAGE, 20, 50)
        stop = _Stop()
        try:
            lab = load(settings.LAB_FILE)
        except LabFileError as error:
            raise CommandError(str(error)) from error
        store = DocumentStore(settings.MONGO_URL)
        clock = _clock(store, stop)
        leadership = Leadership()
        log.info("waiting for the lease", holder=leadership.holder)
        while not stop.asked and not leadership.try_to_lead():
            time.sleep(POLL_S)
        if stop.asked or clock is None:
            return
        log.info("leading", epoch=leadership.epoch)
        policy = settings.SCHEDULER_POLICY
        scheduler = Scheduler(lab, clock, store, settings.REDIS_URL, leadership, policy=policy)
        stop.scheduler = scheduler
        try:
            if not stop.asked:
                scheduler.advisor.warm_up()
                # It leads at once; who waits for it to be ready waits for the answers to questions too.
                threading.Thread(target=_announce, args=(scheduler.advisor.warm, policy), daemon=True).start()
                scheduler.run()
        except LeadershipLostError as error:
            raise CommandError(f"another scheduler has taken over: {error}") from error
        leadership.release()
        connection.close()
        log.info("stopped")


def _announce(warm: threading.Event, policy: str) -> None:
    warm.wait(WARM_WITHIN_S)
    announce_ready(f"policy {policy}")


class _Stop:
    """Ends the process cleanly on a signal."""

    def __init__(self) -> None:
        self.asked = False
        self.scheduler: Scheduler | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if self.scheduler is not None:
            self.scheduler.stop()


def _clock(store: DocumentStore, stop: _Stop) -> LabClock | None:
    """Attach to lab time, as soon as the document store answers."""
    waiting = False
    while not stop.asked:
        try:
            store.ping()
            return attach(store.database)
        except StoreUnavailableError:
            if not waiting:
                log.warning("waiting for the document store")
            waiting = True
            time.sleep(POLL_S)
        except LookupError as error:
            raise CommandError(str(error)) from error
    return None
