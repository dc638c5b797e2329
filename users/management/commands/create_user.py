"""Create an account without prompts."""

from __future__ import annotations

import json
import secrets
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from users import services


class Command(BaseCommand):
    """``manage.py create_user NAME``."""

    help = "Create an account with its personal project. Without --password-stdin a random password is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("name")
        parser.add_argument("--email", default="")
        parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        parser.add_argument("--token", action="store_true", help="also create a token, shown once")
        parser.add_argument("--scopes", help="of the token, separated by commas")
        parser.add_argument("--operator", action="store_true", help="make an operator of the lab")
        parser.add_argument("--admin", action="store_true", help="make an administrator of the lab")
        parser.add_argument("--json", action="store_true", help="print one JSON object, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create the account, and print what is shown once."""
        given = sys.stdin.readline().rstrip("\r\n") if options["password_stdin"] else None
        password = given if given is not None else secrets.token_urlsafe(12)
        scopes = options["scopes"].split(",") if options["scopes"] else None
        try:
            with transaction.atomic():
                user = services.create_user(
                    options["name"],
                    password,
                    email=options["email"],
                    operator=options["operator"],
                    admin=options["admin"],
                )
                secret = services.create_token(user, "first token", scopes)[1] if options["token"] else None
        except services.AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        shown = {"username": user.username, "project": user.personal_project.slug}
        if given is None:
            shown["password"] = password
        if secret is not None:
            shown["token"] = secret
        if options["json"]:
            self.stdout.write(json.dumps(shown))
        else:
            self.stdout.write("\n".join(f"{key}: {value}" for key, value in shown.items()))
