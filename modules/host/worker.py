"""The Celery worker that takes orders from the queues of this host's modules, and does nothing else with them.

Celery's retries, late acknowledgement and time limits stay off: an attempt is decided by its claim, and repeated by
nobody but the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import setup_logging, worker_ready
from kombu import Connection
from pydantic import ValidationError

from modules.contract.messages import ORDER_TASK, Order, queue

RECONNECT_MAX_S = 2.0


class _Connection(Connection):
    """A connection that is tried again every two seconds at the latest; kombu goes up to thirty."""

    def _ensure_connection(self, *args: Any, **kwargs: Any) -> Any:
        kwargs |= {"interval_start": 0.2, "interval_step": 0.3, "interval_max": RECONNECT_MAX_S}
        return super()._ensure_connection(*args, **kwargs)


class _Amqp(AMQP):
    Connection = _Connection

    def TaskConsumer(self, *args: Any, **kwargs: Any) -> Any:  # noqa: N802 - Celery's name
        # an order needs no acknowledgement: what is not claimed by its deadline is sent again or withdrawn,
        # and two of three round trips to Redis are saved
        return super().TaskConsumer(*args, no_ack=True, **kwargs)


class HostCelery(Celery):
    """Celery without Django: the fixup would load it because of one variable in the environment."""

    amqp_cls = f"{__name__}:_Amqp"
    builtin_fixups: ClassVar[frozenset[str]] = frozenset()


def build_celery(redis_url: str) -> HostCelery:
    """Return the app through which orders come."""
    app = HostCelery("octolab-host", broker=redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_create_missing_queues=True,
        enable_utc=True,
        timezone="UTC",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        # the task only hands the order over, so a busy lane holds up nothing
        worker_prefetch_multiplier=64,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_heartbeat=0,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "health_check_interval": 10,
            "socket_keepalive": True,
        },
    )
    return app


def _leave_logging_alone(**_: Any) -> None:
    pass


def serve(
    app: HostCelery,
    instances: Iterable[str],
    *,
    take: Callable[[Order], None],
    on_malformed: Callable[[str], None],
    on_ready: Callable[[], None],
) -> None:
    """Take orders until the process is asked to end (SIGTERM, SIGINT). Must run in the main thread.

    ``on_ready()`` is called when orders can come.
    """

    @app.task(name=ORDER_TASK)
    def order(message: dict[str, Any]) -> None:
        try:
            decoded = Order.model_validate(message)
        except ValidationError as error:
            # without a valid order there is no attempt to close: its deadline withdraws it
            on_malformed(str(error))
            return
        take(decoded)

    def ready(**_: Any) -> None:
        on_ready()

    worker_ready.connect(ready, weak=False)
    # whoever listens to this signal keeps Celery from setting up logging its own way
    setup_logging.connect(_leave_logging_alone)
    worker = app.Worker(
        pool="threads",
        concurrency=1,
        queues=",".join(queue(instance) for instance in instances),
        loglevel="WARNING",
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    worker.start()
