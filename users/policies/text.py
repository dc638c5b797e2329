"""A project's rules as lines that people read and write, on a page or at the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from users.services import AccountError

from .rules import Range, Rules

_OPEN = "-"
"""Stands for no bound."""


def names(text: str) -> list[str]:
    """Return the names in a text: one in each line, or separated by commas or spaces."""
    return text.replace(",", " ").split()


def ranges(text: str) -> dict[str, dict[str, float | None]]:
    """Return the ranges in a text with lines like ``furnace.heat.temperature 20 900``; ``-`` for no bound.

    Raises
    ------
    AccountError
        If a line is something else.
    """
    found: dict[str, dict[str, float | None]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = line.split()
        try:
            name, least, most = parts
            found[name] = {"min": _bound(least), "max": _bound(most)}
        except ValueError as error:
            said = f"{line[:100]!r}: write module.task.parameter, the least and the greatest value; - for none."
            raise AccountError("ranges", said) from error
    return found


def _bound(text: str) -> float | None:
    return None if text == _OPEN else float(text)


def lines(rules: Rules) -> Mapping[str, Any]:
    """Return the rules as texts, each line one name or range."""
    return {
        "allow": _joined(rules.allow or ()),
        "deny": _joined(rules.deny),
        "approve": _joined(rules.approve),
        "ranges": _joined(_shown(name, allowed) for name, allowed in rules.ranges.items()),
        "approve_agents": rules.approve_agents,
    }


def _joined(texts: Iterable[str]) -> str:
    return "\n".join(texts)


def _shown(name: str, allowed: Range) -> str:
    return " ".join([name, *(_OPEN if bound is None else f"{bound:g}" for bound in (allowed.min, allowed.max))])
