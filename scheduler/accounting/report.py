"""Reading the ledger, as one asker may see it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from django.db.models import Q

from scheduler.models import Stock
from users.models import User, of_visible_projects

from .models import Usage

_ANYTHING = Q()


@dataclass
class Line:
    """What one user has used for one project in one month."""

    month: str
    user: str
    project: str
    modules: dict[str, float] = field(default_factory=dict)
    """Module → hours of lab time."""
    samples: dict[str, int] = field(default_factory=dict)
    """Final state → number."""
    consumables: dict[str, float] = field(default_factory=dict)
    """Stock → amount in its unit."""
    project_name: str = ""

    @property
    def module_hours(self) -> float:
        """Hours of all modules together."""
        return round(sum(self.modules.values()), 4)


def may_see(user: User) -> Q:
    """Return whose use somebody may see: of the own projects; lab admins of all."""
    return Q() if user.is_lab_admin else Q(of_visible_projects(user, "project__"))


def report(
    asker: User, since: date | None = None, until: date | None = None, project: str = "", user: str = ""
) -> list[Line]:
    """Return what was used, as far as one asker may see it; see :func:`everything`."""
    return everything(since, until, project, user, may_see(asker))


def everything(
    since: date | None = None, until: date | None = None, project: str = "", user: str = "", condition: Q = _ANYTHING
) -> list[Line]:
    """Return what was used, newest month first.

    Parameters
    ----------
    since, until
        First and last month (any day of it).
    project, user
        Short name and user name; empty for all.
    """
    rows = Usage.objects.filter(condition).order_by("-month", "project__slug", "user__username", "kind", "item")
    if since is not None:
        rows = rows.filter(month__gte=since.replace(day=1))
    if until is not None:
        rows = rows.filter(month__lte=until)
    if project:
        rows = rows.filter(project__slug=project)
    if user:
        rows = rows.filter(user__username=user)
    lines: dict[tuple[Any, ...], Line] = {}
    for month, name, slug, project_name, kind, item, amount in rows.distinct().values_list(
        "month", "user__username", "project__slug", "project__name", "kind", "item", "amount"
    ):
        line = lines.setdefault((month, slug, name), Line(f"{month:%Y-%m}", name, slug, project_name=project_name))
        match kind:
            case Usage.Kind.MODULE:
                line.modules[item] = round(amount / 3600, 4)
            case Usage.Kind.SAMPLE:
                line.samples[item] = round(amount)
            case _:
                line.consumables[item] = round(amount, 6)
    return list(lines.values())


def units() -> dict[str, str]:
    """Return the unit of each stock."""
    return dict(Stock.objects.values_list("id", "unit"))


def as_csv(lines: list[Line]) -> str:
    """Return a table with a column for each module, state and stock; units stand in the heading."""
    modules = sorted({name for line in lines for name in line.modules})
    states = sorted({name for line in lines for name in line.samples})
    stocks = sorted({name for line in lines for name in line.consumables})
    unit_of = units()
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        [
            *("month", "project", "user", "module time (h)"),
            *(f"{name} (h)" for name in modules),
            *(f"samples {name}" for name in states),
            *(f"{name} ({unit_of.get(name, '')})" for name in stocks),
        ]
    )
    for line in lines:
        writer.writerow(
            [
                *(line.month, cell(line.project), cell(line.user), line.module_hours),
                *(line.modules.get(name, 0.0) for name in modules),
                *(line.samples.get(name, 0) for name in states),
                *(line.consumables.get(name, 0.0) for name in stocks),
            ]
        )
    return out.getvalue()


def cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t") else text
