"""Invite somebody."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.accounts.services import OFF, invite
from users.audit import requester
from users.models import LabPolicy, Project
from users.services import AccountError


class Command(BaseCommand):
    """``manage.py invite EMAIL``."""

    help = "Invite somebody to make an account. The link is mailed, and shown this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("email")
        parser.add_argument("--project", help="short name of a project to become a member of")

    def handle(self, *args: Any, **options: Any) -> None:
        """Invite, and print the link."""
        project = Project.objects.filter(slug=options["project"]).first() if options["project"] else None
        if options["project"] and project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            sent = invite(options["email"], project, by=requester().actor)
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        self.stdout.write(sent.link)
        self.stderr.write(sent.mailed)
        if LabPolicy.current().sign_up == LabPolicy.SignUp.OFF:
            self.stderr.write(f"{OFF} `manage.py lab_settings sign_up=invitation`")
