"""How many orders may lie unclaimed before a module: enough to keep its host busy, no more.

What is not sent can still be re-ordered or cancelled for nothing, and a short list of outstanding attempts is what
keeps a turn of the loop short.
"""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Iterator

from scheduler.process.live import Unit

MOST_UNCLAIMED = 48


class Crowds:
    """Units that could start, but for the orders that lie before their module already."""

    def __init__(self) -> None:
        self._unclaimed: defaultdict[str, set[str]] = defaultdict(set)
        self._crowds: defaultdict[str, list[tuple[tuple[float, ...], int, Unit]]] = defaultdict(list)
        self._members: set[str] = set()
        self._serial = itertools.count()

    def room(self, unit: Unit) -> bool:
        """Tell whether the unit's module takes one more order; if not, the unit waits in the crowd."""
        module = unit.first.module
        if len(self._unclaimed[module]) < MOST_UNCLAIMED:
            return True
        if unit.id not in self._members:
            self._members.add(unit.id)
            heapq.heappush(self._crowds[module], (unit.order, next(self._serial), unit))
        return False

    def ordered(self, unit: Unit) -> None:
        """An order goes out."""
        self._unclaimed[unit.first.module].add(unit.id)

    def claimed(self, unit: Unit) -> None:
        """An order was claimed, or taken back."""
        self._unclaimed[unit.first.module].discard(unit.id)

    def admitted(self) -> Iterator[Unit]:
        """Yield those of the crowd for whom there is room now, first of the plan first."""
        for module, crowd in self._crowds.items():
            for _ in range(min(len(crowd), MOST_UNCLAIMED - len(self._unclaimed[module]))):
                unit = heapq.heappop(crowd)[2]
                self._members.discard(unit.id)
                yield unit
