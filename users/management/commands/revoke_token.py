"""Revoke a token."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users import services
from users.models import Token


class Command(BaseCommand):
    """``manage.py revoke_token ID``."""

    help = "Make a token useless at once. Its id is shown by `manage.py list_users --tokens`; the secret is not needed."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("id", type=UUID)

    def handle(self, *args: Any, **options: Any) -> None:
        """Revoke it."""
        token = Token.objects.filter(uid=options["id"]).first()
        if token is None:
            raise CommandError(f"There is no token with the id {options['id']}.")
        services.revoke_token(token)
        self.stdout.write(f"revoked: {token.name} of {token.user.username}")
