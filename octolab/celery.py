"""The server's Celery app: slow work on the queues ``analysis``, ``notifications`` and ``exports``.

Started as ``celery -A octolab.celery worker -Q analysis,notifications,exports --pool threads``. Redis may be emptied or
away at any moment: whatever has to happen is found again in the relational store, a message only makes it happen soon.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "octolab.settings")
# The checks would load every view, which no task needs.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

from celery import Celery
from celery.signals import setup_logging, worker_ready
from django.conf import settings

from modules.contract.ready import announce_ready

QUEUES = ("analysis", "notifications", "exports")

app = Celery("octolab", include=["analysis.tasks", "notifications.tasks"], set_as_current=True)
app.conf.update(
    broker_url=settings.REDIS_URL,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    task_default_queue="analysis",
    # A web request or the scheduler must not wait for a Redis that is away.
    task_publish_retry=False,
    broker_connection_max_retries=None,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_timeout": 10, "socket_connect_timeout": 2, "health_check_interval": 10},
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    enable_utc=True,
    timezone="UTC",
)


@setup_logging.connect
def _keep_our_logging(**_: Any) -> None:
    """Leave the logging as Django's settings have it: they redact secrets."""
    from logging.config import dictConfig

    dictConfig(settings.LOGGING)


@worker_ready.connect
def _announce(sender: Any, **_: Any) -> None:
    announce_ready(", ".join(sender.app.amqp.queues.consume_from))
