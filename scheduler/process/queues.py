"""Who waits for what, in the order of the plan: one queue for each device, resource and setting."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from scheduler.process.live import Unit

Key = tuple[str, str]
"""``("device"|"place"|"setting", id)``."""


def _order(unit: Unit) -> tuple[float, ...]:
    return unit.order


def keys_of(unit: Unit) -> Iterator[Key]:
    """Yield everything that the unit takes at its start."""
    for device in unit.devices:
        yield ("device", device)
    for resource in dict.fromkeys(unit.takes):
        yield ("place", resource)
    for setting in unit.settings:
        yield ("setting", setting)


class Queues:
    """Waiting units by what they wait for. An order is never changed while its unit is queued; see `resort`."""

    def __init__(self) -> None:
        self._queues: dict[Key, list[Unit]] = {}

    def add(self, unit: Unit) -> None:
        """Queue a unit for everything that it needs."""
        if not unit.queued:
            unit.queued = True
            for key in keys_of(unit):
                insort(self._queues.setdefault(key, []), unit, key=_order)

    def remove(self, unit: Unit) -> None:
        """Take a unit out of all its queues."""
        if unit.queued:
            unit.queued = False
            for key in keys_of(unit):
                queue = self._queues[key]
                at = bisect_left(queue, unit.order, key=_order)
                while queue[at] is not unit:
                    at += 1
                del queue[at]

    def resort(self) -> None:
        """Sort again after orders have changed. Nothing else may be called in between."""
        for queue in self._queues.values():
            queue.sort(key=_order)

    def waiting(self, key: Key) -> list[Unit]:
        """Return the units that wait for this, first one first."""
        return self._queues.get(key, [])

    def before(self, key: Key, unit: Unit) -> Iterator[Unit]:
        """Yield the units that wait for this and stand before the given one."""
        for other in self._queues.get(key, ()):
            if other is unit:
                return
            yield other

    def __iter__(self) -> Iterator[tuple[Key, list[Unit]]]:
        return iter(self._queues.items())
