"""Give or take a role in the lab."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.models import LabRole, User
from users.services import AccountError, set_lab_role, take_lab_role


class Command(BaseCommand):
    """``manage.py set_role USER operator|admin``."""

    help = "Make somebody an operator (of all modules, or of named ones) or an admin of the lab; --take takes it away."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user")
        parser.add_argument("role", choices=LabRole.Role.values)
        parser.add_argument("--modules", help="that an operator operates, separated by commas; default: all")
        parser.add_argument("--take", action="store_true", help="take the role away")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        # Here, because who belongs to the lab is no matter of what it can do.
        from scheduler.services.approval import unknown_modules

        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; `manage.py list_users` lists them.")
        if options["take"]:
            take_lab_role(user, options["role"])
            self.stdout.write(f"{user.username} is no {options['role']} any more")
            return
        modules = options["modules"].split(",") if options["modules"] else None
        try:
            set_lab_role(user, options["role"], modules)
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        if said := unknown_modules(modules or ()):
            self.stderr.write(said)
        self.stdout.write(f"{user.username}: {options['role']}{' of ' + ', '.join(modules) if modules else ''}")
