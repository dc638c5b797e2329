"""Let somebody in again who has lost the password or the second factor."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.accounts.services import reset_access
from users.models import User


class Command(BaseCommand):
    """``manage.py reset_access USER``."""

    help = "Give somebody a new password, shown once, and forget the second factor and wrong tries. Tokens stay."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; `manage.py list_users` lists them.")
        self.stdout.write(f"{user.username}: new password {reset_access(user)} (shown this once), no second factor")
