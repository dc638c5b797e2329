"""Begin a lab of one's own: a lab file to be edited."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from modules.contract.lab import LabFileError, load

LABS = settings.BASE_DIR / "octolab" / "labs"


class Command(BaseCommand):
    """``manage.py create_lab FILE --name NAME --timezone ZONE``."""

    help = "Write a lab file to begin with, a copy of a shipped one, and tell what comes next. Nothing is overwritten."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--name", required=True, help="what the lab is called")
        parser.add_argument("--timezone", default="UTC", help="IANA zone, such as Europe/Berlin")
        kinds = sorted(path.stem for path in LABS.glob("*.toml"))
        parser.add_argument(
            "--like",
            choices=kinds,
            default="real-example",
            help="silver and virtual are simulated; default real-example",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file, check it, and tell what comes next."""
        file: Path = options["file"].absolute()
        text = (LABS / f"{options['like']}.toml").read_text(encoding="utf-8")
        said = "\n".join(f"{key} = {json.dumps(options[key], ensure_ascii=False)}" for key in ("name", "timezone"))
        text = re.sub(r'^timezone = "[^"]*".*\n', "", text, count=1, flags=re.MULTILINE)
        text = re.sub(r'^name = "[^"]*".*$', lambda _: said, text, count=1, flags=re.MULTILINE)
        try:
            with file.open("x", encoding="utf-8") as new:
                new.write(text)
        except FileExistsError as error:
            raise CommandError(f"{file} is there already; nothing was changed.") from error
        except (OSError, UnicodeEncodeError) as error:
            raise CommandError(f"{file} cannot be written: {error}") from error
        try:
            lab = load(file)
        except LabFileError as error:
            file.unlink()
            raise CommandError(str(error)) from error
        self.stdout.write(f"{file}: {lab.name}, {len(lab.modules)} modules, {len(lab.devices)} devices.")
        self.stdout.write("Next: give each device its address in the file, then")
        self.stdout.write(f"  deploy/up --no-demo --lab {file}")
        self.stdout.write("and, when it runs, make the first account: manage.py create_user NAME --admin")
