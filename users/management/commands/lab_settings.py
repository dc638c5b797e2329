"""Show and change the lab's settings."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.forms.models import model_to_dict

from users.models import LabPolicy
from users.policies.services import change_policy
from users.services import AccountError


class Command(BaseCommand):
    """``manage.py lab_settings [NAME=VALUE …]``."""

    help = 'Show the lab\'s settings, or change some: sign_up=invitation mfa_for=["operator"] open_jobs_per_user=100'

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("changes", nargs="*", metavar="NAME=VALUE", help="the value as JSON, or a word")

    def handle(self, *args: Any, **options: Any) -> None:
        """Change what is asked for, and print everything."""
        changes = {}
        for change in options["changes"]:
            name, equals, text = change.partition("=")
            if not equals:
                raise CommandError(f"{change!r}: write NAME=VALUE.")
            try:
                changes[name] = json.loads(text)
            except ValueError:
                changes[name] = text
        try:
            policy = change_policy(**changes) if changes else LabPolicy.current()
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        self.stdout.write(json.dumps(model_to_dict(policy, exclude=["id"]), indent=2))
