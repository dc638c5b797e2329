"""Stocks: what is used goes off the level; a stock that runs low is told about once."""

from __future__ import annotations

from scheduler.events import Happening
from scheduler.models import Stock
from scheduler.process.changes import Changes


class Stocks:
    """Levels of all stocks. Only the scheduler changes levels; reservations are made by whoever accepts jobs."""

    def __init__(self, levels: dict[str, float] | None = None) -> None:
        self._levels = levels if levels is not None else {}
        self._warn_below: dict[str, float] = {}

    def load(self) -> None:
        """Read the levels."""
        for pk, level, warn_below in Stock.objects.values_list("id", "level", "warn_below"):
            self._levels[pk], self._warn_below[pk] = level, warn_below

    def level(self, stock: str) -> float | None:
        """Return what there is, in the stock's unit; None if there is no such stock."""
        return self._levels.get(stock)

    def use(self, changes: Changes, stock: str, amount: float) -> None:
        """Take an amount (in the stock's unit) off, and warn when the level falls below the mark."""
        before = self._levels.get(stock)
        if before is None:
            return
        after = self._levels[stock] = before - amount
        changes.use(stock, amount)
        mark = self._warn_below[stock]
        if after < mark <= before:
            data = {"level": after, "warn_below": mark}
            changes.happened(Happening("stock", stock, state_to="low", reason="below the warning mark", data=data))

    def refill(self, changes: Changes, stock: str, amount: float, lot: str, actor: str) -> None:
        """Put an amount in (or take one out, if it is negative), under a lot number if one is given."""
        changes.use(stock, -amount)
        self._levels[stock] += amount
        if lot:
            changes.writes.append(lambda: Stock.objects.filter(pk=stock).update(lot=lot))
        data = {"added": amount, "level": self._levels[stock], "lot": lot}
        changes.happened(Happening("stock", stock, state_to="refilled", actor=actor, data=data))
