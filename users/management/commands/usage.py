"""Show who uses what."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduler.accounting.report import as_csv, everything


class Command(BaseCommand):
    """``manage.py usage``."""

    help = "Print module hours, samples and consumables by month, project and user, as CSV."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--since", help="first month, as 2026-01")
        parser.add_argument("--until", help="last month")
        parser.add_argument("--project", default="", help="short name")
        parser.add_argument("--user", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        since, until = (_month(options[name]) for name in ("since", "until"))
        self.stdout.write(as_csv(everything(since, until, options["project"], options["user"])), ending="")


def _month(text: str | None) -> Any:
    try:
        return None if text is None else datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError as error:
        raise CommandError(f"{text!r}: write a month as 2026-01.") from error
