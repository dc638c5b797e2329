"""Set a quota."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.models import Project, User
from users.policies.services import set_quota
from users.services import AccountError


class Command(BaseCommand):
    """``manage.py set_quota --user NAME | --project SLUG``."""

    help = "Set how much a user or a project may use. What is left out is as usual in the lab."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        of = parser.add_mutually_exclusive_group(required=True)
        of.add_argument("--user")
        of.add_argument("--project", help="short name")
        parser.add_argument("--open-jobs", type=int)
        parser.add_argument("--module-hours", type=float, help="in a calendar month, lab time")

    def handle(self, *args: Any, **options: Any) -> None:
        """Set it."""
        of: User | Project | None
        if options["user"]:
            of = User.objects.filter(username=options["user"]).first()
        else:
            of = Project.objects.filter(slug=options["project"]).first()
        if of is None:
            raise CommandError("There is no such user or project.")
        try:
            quota = set_quota(of, open_jobs=options["open_jobs"], module_hours=options["module_hours"])
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        jobs, hours = (
            "as usual in the lab" if limit is None else f"{limit:g}" for limit in (quota.open_jobs, quota.module_hours)
        )
        self.stdout.write(f"open jobs: {jobs}; module hours in a month: {hours}")
