"""Create a token without prompts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from users import services
from users.models import Project, User


class Command(BaseCommand):
    """``manage.py create_token USER``."""

    help = "Create a token for an account. The token is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user")
        parser.add_argument("--name", default="token")
        parser.add_argument("--scopes", help=f"separated by commas; default {','.join(services.DEFAULT_SCOPES)}")
        parser.add_argument("--project", help="short name of the one project that it shall work for")
        parser.add_argument("--days", type=float, help="days until it expires; default: never")
        parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the token and print it."""
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; `manage.py list_users` lists them.")
        project = Project.objects.filter(slug=options["project"]).first() if options["project"] else None
        if options["project"] and project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        expires_at = timezone.now() + timedelta(days=options["days"]) if options["days"] is not None else None
        scopes = options["scopes"].split(",") if options["scopes"] else None
        try:
            token, secret = services.create_token(user, options["name"], scopes, project=project, expires_at=expires_at)
        except services.AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        self.stdout.write(json.dumps({"id": str(token.uid), "token": secret}) if options["json"] else secret)
