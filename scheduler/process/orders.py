"""Orders: made self-contained from the live state, and sent to the queue of their module."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, cast

import redis
import structlog
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from modules.contract.lab import Lab
from modules.contract.manifest import DeviceMode
from modules.contract.messages import ORDER_TASK, Member, Order, OrderedStep, queue
from scheduler.process.live import LiveMember, Unit

log = structlog.get_logger("octolab.scheduler")

DEADLINE_S = 120.0
"""Wall time until which an order may be claimed: longer than the broker's reconnect back-off."""
RESEND_S = 2.0
"""A dispatched order that nobody claimed for so long is sent again: the claim makes that harmless."""
RETRY_S = 0.5

_TRANSPORT_ERRORS = (OSError, KombuError, redis.RedisError)
_NO_CALLBACKS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


class LocalNames:
    """The module's own words for devices and resources, by their ids in the lab."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._devices: dict[str, dict[str, str]] = {}
        for instance, module in lab.modules.items():
            names: dict[str, str] = {}
            for local, target in module.devices.items():
                for device in (target,) if isinstance(target, str) else target:
                    names[device] = local
            self._devices[instance] = names

    def setting(self, instance: str, key: str) -> str:
        """Turn ``<device id>.<setting>`` into ``<local device>.<setting>``."""
        device, _, setting = key.partition(".")
        return f"{self._devices.get(instance, {}).get(device, device)}.{setting}"

    def resource(self, instance: str, resource: str) -> str:
        """Return the module's name of a resource; other modules' resources keep their id."""
        module = self._lab.modules.get(instance)
        if module is not None:
            for local, target in module.resources.items():
                if target == resource:
                    return local
        return resource.removeprefix(f"{instance}.")


def make_order(unit: Unit, names: LocalNames, fence: int, parameters: dict[int, dict[str, Any]]) -> Order:
    """Make the order of a dispatched unit.

    Parameters
    ----------
    parameters
        Resolved parameters by the member's key.
    """
    first, job = unit.first, unit.job
    if first.granted_at is None or first.deadline_at is None:
        raise ValueError(f"{unit.attempt_id} is not granted")
    return Order(
        attempt_id=unit.attempt_id,
        attempt=first.attempt,
        module=first.module,
        task=first.task_name,
        manifest_hash=job.manifests.get(first.module, ""),
        steps=tuple(
            OrderedStep(
                step_id=step.id,
                name=step.name,
                action=step.action or "",
                devices=cast("dict[str, DeviceMode]", step.devices),
                settings={names.setting(step.module, key): value for key, value in step.settings.items()},
                duration_s=step.duration_s,
            )
            for step in unit.steps
            if not step.final
        ),
        members=tuple(_member(member, first.module, names, parameters[member.pk]) for member in first.alive),
        job_id=job.id,
        job_name=job.name,
        project_id=job.project_id,
        owner=job.owner,
        simulated=job.simulated,
        fence=fence,
        granted_at=first.granted_at,
        deadline_at=first.deadline_at,
    )


def _member(member: LiveMember, instance: str, names: LocalNames, parameters: dict[str, Any]) -> Member:
    sample = member.sample
    return Member(
        task_id=member.task.id,
        sample_id=sample.id,
        sample_name=sample.name,
        parameters=parameters,
        origins=member.task.origins,
        places={names.resource(instance, resource): index for resource, index in sample.places.items()},
        run_uid=member.run_uid or "",
    )


class OrderSender:
    """Sends orders as Celery tasks. What cannot be sent now is sent again later."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._producer: Producer | None = None
        self._silent_until_s = 0.0

    def send(self, units: Iterable[tuple[Unit, Order]]) -> None:
        """Send each order to the queue of its module, and note when."""
        for unit, order in units:
            now_s = time.monotonic()
            unit.sent_at_s = now_s
            if now_s < self._silent_until_s:
                continue
            try:
                self._publish(order)
            except _TRANSPORT_ERRORS as error:
                log.warning("order not sent, will be sent again", attempt=order.attempt_id, error=str(error)[:200])
                self._silent_until_s = time.monotonic() + RETRY_S
                self.close()

    def close(self) -> None:
        """Drop the connection; the next order opens another."""
        if self._producer is not None:
            try:
                self._producer.connection.release()
            except _TRANSPORT_ERRORS:
                log.debug("broker connection did not close cleanly")
        self._producer = None

    def _publish(self, order: Order) -> None:
        if self._producer is None:
            connection = Connection(
                self._url,
                transport_options={"socket_timeout": 2.0, "socket_connect_timeout": 1.0, "max_retries": 0},
            )
            self._producer = Producer(connection.channel(), serializer="json", auto_declare=False)
        # One attempt has one message id, however often it is sent.
        self._producer.publish(
            ((order.model_dump(mode="json"),), {}, _NO_CALLBACKS),
            exchange="",
            routing_key=queue(order.module),
            headers={
                "lang": "py",
                "task": ORDER_TASK,
                "id": order.attempt_id,
                "root_id": order.attempt_id,
                "parent_id": None,
                "group": None,
            },
            correlation_id=order.attempt_id,
            delivery_mode=1,
        )
