"""Make a shared project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.models import User
from users.services import AccountError, create_project


class Command(BaseCommand):
    """``manage.py create_project SLUG --admin USER``."""

    help = "Make a shared project with a first admin, who takes others in."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug", help="short name")
        parser.add_argument("--admin", required=True, help="user name")
        parser.add_argument("--name", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it."""
        admin = User.objects.filter(username=options["admin"], is_active=True).first()
        if admin is None:
            raise CommandError(f"There is no active user {options['admin']!r}.")
        try:
            self.stdout.write(create_project(admin, options["slug"], options["name"]).slug)
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
