"""Look into the audit log, and check it."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.audit.search import Wanted, search
from users.audit.verify import verify

_MOST_KEPT = 1000
"""Hashes of earlier checks, outside of the database: they show if the log's end was cut off together with its head."""


class Command(BaseCommand):
    """``manage.py audit verify|show``."""

    help = "Check that nothing was changed in or removed from the audit log, or show entries of it."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        commands = parser.add_subparsers(dest="command", required=True)
        check = commands.add_parser("verify", help="check the whole chain")
        check.add_argument("--expect", metavar="HASH", help="the hash that an earlier check has shown")
        show = commands.add_parser("show", help="print entries, newest first, one JSON object a line")
        for name in ("actor", "verb", "subject", "project", "text"):
            show.add_argument(f"--{name}", default="")
        show.add_argument("--limit", type=int, default=50)

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is asked for."""
        if options["command"] == "show":
            names = ("actor", "verb", "subject", "project", "text")
            for entry in search(Wanted(**{name: options[name] for name in names}))[: options["limit"]]:
                shown = {name: str(getattr(entry, name)) for name in ("seq", "at", "actor", "credential", "address")}
                shown |= {name: getattr(entry, name) for name in ("verb", "subject", "project", "detail")}
                self.stdout.write(json.dumps(shown))
            return
        seen = settings.DATA_ROOT / "audit" / "seen"
        kept = seen.read_text().split() if seen.exists() else []
        verdict = verify(*kept, *([options["expect"]] if options["expect"] else []))
        for broken in verdict.broken[:20]:
            self.stderr.write(f"entry {broken.seq}: {broken.reason}")
        if verdict.broken:
            raise CommandError(f"The audit log does not hold: {len(verdict.broken)} places are wrong.")
        try:
            seen.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen.write_text("\n".join(dict.fromkeys([*kept, verdict.hash][-_MOST_KEPT:])) + "\n")
        except OSError as error:
            self.stderr.write(f"The hash cannot be kept in {seen}: {error.strerror}.")
        self.stdout.write(f"{verdict.entries} entries, nothing changed or missing. Keep this elsewhere: {verdict.hash}")
