"""Writing the ledger: what one turn of the scheduler has used up, added in its transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from django.db import connection

from octolab.rows import for_storing

from .models import Usage

Key = tuple[str, str, str, str]
"""User, project, kind, item."""


def month_of(at: datetime) -> date:
    """Return the first day of the month of a moment, UTC."""
    return at.astimezone(UTC).date().replace(day=1)


@dataclass(slots=True)
class Charges:
    """What is to be added to the ledger."""

    amounts: dict[Key, float] = field(default_factory=dict)

    def add(self, user: str, project: str, kind: str, item: str, amount: float) -> None:
        """Charge an amount."""
        if amount > 0:
            key = (user, project, kind, item)
            self.amounts[key] = self.amounts.get(key, 0.0) + amount

    def write(self, at: datetime) -> None:
        """Add everything to the month of ``at``; call it in the transaction of what is charged."""
        if not self.amounts:
            return
        prepare = for_storing(Usage, ("month", "user", "project", "kind", "item", "amount"))
        month = month_of(at)
        rows = [
            tuple(convert(value) for convert, value in zip(prepare, (month, *key, amount), strict=True))
            for key, amount in sorted(self.amounts.items())
        ]
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO scheduler_usage (month, user_id, project_id, kind, item, amount)"
                " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (month, user_id, project_id, kind, item)"
                " DO UPDATE SET amount = scheduler_usage.amount + excluded.amount",
                rows,
            )
