"""The bench of a simulated lab, where nobody stands: what people say to have done there is done by the simulation.

In a lab with real devices nothing of this happens.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from django.conf import settings

from modules.contract import hands
from modules.contract.lab import LabFileError
from scheduler import catalogue as catalogues
from scheduler.models import Sample, Stock
from scheduler.states import SAMPLE_FINAL

log = logging.getLogger(__name__)


def take_away(sample: Sample) -> None:
    """Take a sample out of its places; where vessels are stored, a fresh one comes in its stead.

    Done before the places are free, so that nobody gets a used vessel for a fresh one.
    """
    if sample.state in SAMPLE_FINAL:
        for place in sample.places.all():
            _do(do="collect", place=catalogues.current().place_name(place.resource, place.index))


def restock(stock: Stock, level: float) -> None:
    """Bring a stock to a level (its unit)."""
    if math.isfinite(level):
        _do(do="restock", stock=stock.solution or stock.id, level=level)


def _do(**order: Any) -> None:
    try:
        if catalogues.current().lab.simulated:
            hands.order(settings.DATA_ROOT / "simulation", **order)
    except (LabFileError, OSError, ValueError) as error:
        # The bench of a simulated lab need not have such a place, and the verb is the server's first of all.
        log.info("nobody did %s at the simulated bench: %s", order, error)
