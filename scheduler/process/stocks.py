"""Stocks: what is used goes off the level; a stock that runs low is told about once."""

from __future__ import annotations

from functools import partial

from notifications.outbox import tell_operators
from scheduler.events import Happening
from scheduler.models import Stock
from scheduler.process.changes import Changes


class Stocks:
    """Levels of all stocks. Only the scheduler changes levels; reservations are made by whoever accepts jobs."""

    def __init__(self, levels: dict[str, float] | None = None) -> None:
        self._levels = levels if levels is not None else {}
        self._warn_below: dict[str, float] = {}
        self._units: dict[str, str] = {}
        self._titles: dict[str, str] = {}
        self._lots: dict[str, str] = {}

    def load(self) -> None:
        """Read the levels."""
        for stock in Stock.objects.all():
            self._levels[stock.id], self._warn_below[stock.id] = stock.level, stock.warn_below
            self._units[stock.id], self._titles[stock.id] = stock.unit, stock.title or stock.id
            self._lots[stock.id] = stock.lot

    def level(self, stock: str) -> float | None:
        """Return what there is, in the stock's unit; None if there is no such stock."""
        return self._levels.get(stock)

    def lot(self, stock: str) -> str:
        """Return the lot number of what was filled in last, or nothing."""
        return self._lots.get(stock, "")

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
            title, unit = self._titles.get(stock, stock), self._units.get(stock, "")
            unit = "" if unit == "1" else f" {unit}"
            text = (
                f"{after:g}{unit} are left; the mark is {mark:g}{unit}. Refill it, and say so on the operator's desk."
            )
            changes.writes.append(partial(tell_operators, "stock_low", f"{title} runs low", text))

    def refill(self, changes: Changes, stock: str, amount: float, lot: str, actor: str) -> None:
        """Put an amount in (or take one out, if it is negative), under a lot number if one is given."""
        changes.use(stock, -amount)
        self._levels[stock] += amount
        if lot:
            self._lots[stock] = lot
            changes.writes.append(lambda: Stock.objects.filter(pk=stock).update(lot=lot))
        data = {"added": amount, "level": self._levels[stock], "lot": lot}
        changes.happened(Happening("stock", stock, state_to="refilled", actor=actor, data=data))
