"""What goes into samples and out of stocks."""

from __future__ import annotations

from typing import Any

from scheduler.catalogue import Catalogue
from scheduler.jobformat.problems import Path, Problems, listed
from scheduler.jobformat.units import UnitError, conversion, show, to_unit

from .offers import Offer, StepValues


class Bench:
    """Turns a module's consumables into the lab's stocks, and notes what does not fit."""

    def __init__(self, catalogue: Catalogue, problems: Problems) -> None:
        self._catalogue = catalogue
        self._problems = problems
        self._overflowing: set[Path] = set()

    def consumption(self, offer: Offer, values: StepValues, path: Path) -> dict[str, float]:
        """Return stock id → amount in the stock's unit."""
        consumed: dict[str, float] = {}
        for local, amount in values.consumes.items():
            consumable = offer.manifest.consumables.get(local)
            stock = self._stock(offer, local, path)
            if consumable is None or stock is None:
                continue
            try:
                factor, _ = conversion(consumable.unit, self._catalogue.stocks[stock].unit)
            except UnitError as error:
                self._problems.add(path, f"The unit of the stock `{stock}` does not fit: {error}.")
                continue
            if amount > 0:
                consumed[stock] = consumed.get(stock, 0.0) + amount * factor
        return consumed

    def addition(self, offer: Offer, values: StepValues, path: Path) -> dict[str, Any] | None:
        """Return what goes into the sample: solution, volume and stock."""
        if values.solution is None:
            return None
        stock = self._stock(offer, values.solution.lower(), path)
        if stock is not None and values.concentration_mm is not None:
            self._check_concentration(stock, values.solution, values.concentration_mm, path)
        return {"solution": values.solution, "volume_ul": values.volume_ul, "stock": stock}

    def check_volume(self, offer: Offer, volume_ul: float, sample: str, path: Path) -> None:
        """Note a vessel that would overflow."""
        vessel = offer.manifest.vessel
        if vessel is not None and volume_ul > vessel.capacity_ul * (1 + 1e-9) and path not in self._overflowing:
            self._overflowing.add(path)
            self._problems.add(
                path,
                f"Sample `{sample}` would hold {show(volume_ul, 'µL')} after this, but its vessel takes "
                f"{show(vessel.capacity_ul, 'µL')}. Add less.",
            )

    def _stock(self, offer: Offer, local: str, path: Path) -> str | None:
        if local not in offer.manifest.consumables:
            known = offer.manifest.consumables
            self._problems.add(
                path, f"`{offer.instance}` has no consumable `{local}`; it has {listed(known, last='and')}."
            )
            return None
        stock = self._catalogue.lab.stock_id(offer.instance, local)
        if stock not in self._catalogue.stocks:
            self._problems.add(
                path, f"The lab has no stock `{stock}`, which this needs. Ask an operator to add it to the lab file."
            )
            return None
        return stock

    def _check_concentration(self, stock: str, solution: str, expected_mm: float, path: Path) -> None:
        facts = self._catalogue.stocks[stock]
        if facts.concentration is None:
            return
        try:
            there_mm = to_unit(facts.concentration, "mM")
        except UnitError:
            return
        if abs(there_mm - expected_mm) > 1e-6 * max(there_mm, expected_mm):
            self._problems.add(
                (*path, "with", "concentration"),
                f"The lab's {solution} is {facts.concentration}, not {show(expected_mm, 'mM')}. Use what is there, or "
                f"ask an operator for another stock.",
            )
