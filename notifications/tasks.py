"""The services' part: a deliverer runs beside the worker that takes the queue ``notifications``."""

from __future__ import annotations

from typing import Any

from celery.signals import celeryd_after_setup, worker_shutting_down

from octolab.celery import app

from .delivery import Deliverer

_deliverer: Deliverer | None = None


@app.task(name="notifications.deliver")
def deliver() -> None:
    """Look into the outbox now; the sending itself takes none of the worker's threads."""
    if _deliverer is not None:
        _deliverer.ring()


# Not when the worker is ready: it never is while Redis is away.
@celeryd_after_setup.connect
def _start(instance: Any, **_: Any) -> None:
    global _deliverer
    if "notifications" in instance.app.amqp.queues.consume_from:
        _deliverer = Deliverer()
        _deliverer.start()


@worker_shutting_down.connect
def _stop(**_: Any) -> None:
    global _deliverer
    if _deliverer is not None:
        _deliverer.stop()
        _deliverer = None
