"""``manage.py estop``: the emergency stop from the server's own command line, without the web process."""

from __future__ import annotations

import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduler.services import estop


class Command(BaseCommand):
    """Trips the emergency stop over Redis and the document store; needs neither web nor scheduler nor database."""

    help = "EMERGENCY STOP of the lab or of a module. Asks nothing back; exit code 0 only if every device is safe."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("scope", nargs="?", default=estop.LAB, help="lab (default), or a module")
        parser.add_argument("--reason", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Trip it, and say what came of it."""
        try:
            made = estop.trip_as(f"{getpass.getuser()} at the server", options["scope"], options["reason"])
        except estop.UnknownScopeError as error:
            raise CommandError(str(error)) from error
        rows = self._tell(made)
        if not made.stored:
            where = "Redis has told the hosts that listen" if made.heard else "NO host was told"
            self.stderr.write(f"The document store is away; {where}. Trying on until it is back; Ctrl-C ends that.")
            self.stderr.flush()
            if made.kept.wait(estop.KEEP_TRYING_S):
                rows = self._tell(made)
        if not all(row["confirmed"] for row in rows):
            raise CommandError("Not every device has confirmed that it is safe. Go there.")

    def _tell(self, made: estop.Trip) -> list[dict[str, Any]]:
        rows = estop.wait_for_outcome(made)
        for row in rows:
            self.stdout.write(
                f"{row['device']}: {'confirmed safe' if row['confirmed'] else 'NOT confirmed'} {row['text']}"
            )
        self.stdout.flush()
        return rows
