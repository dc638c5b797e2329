"""Interlocks: what the lab file declares, what has tripped, and who has seen it."""

from __future__ import annotations

from typing import Any

from scheduler import catalogue
from scheduler.models import Interlock
from scheduler.services.requests import WAIT_S, Answer, ask
from users.models import User
from users.permissions import require


def listed() -> list[dict[str, Any]]:
    """Return every declared interlock with its state."""
    rows = Interlock.objects.in_bulk()
    found = []
    for section in catalogue.current().lab.interlocks:
        row = rows.get(section.id)
        found.append(
            {
                **section.model_dump(mode="json"),
                "tripped": bool(row and row.tripped),
                "value": row and row.value,
                "since_at": row and row.since_at,
                "acknowledged_by": row.acknowledged_by if row else "",
                "acknowledged_at": row and row.acknowledged_at,
            }
        )
    return found


def acknowledge(user: User, interlock: str, note: str = "", *, wait_s: float = WAIT_S) -> Answer:
    """Say by name that one has seen an interlock's last trip.

    Raises
    ------
    IllegalStateError
        If it never tripped, or somebody has acknowledged it already.
    PermissionDenied
        If the user is no operator.
    """
    require(user.operates(), "Only operators may acknowledge an interlock.")
    return ask("acknowledge", user, None, wait_s, interlock=interlock, note=note)
