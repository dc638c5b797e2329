"""Take somebody into a project."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.models import Project, ProjectRole, User
from users.services import AccountError, add_member, remove_member


class Command(BaseCommand):
    """``manage.py add_member PROJECT USER``."""

    help = "Take somebody who has an account into a project, or give another role; --remove takes them out."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("project", help="short name")
        parser.add_argument("user")
        parser.add_argument("--role", choices=ProjectRole.values, default=ProjectRole.MEMBER)
        parser.add_argument("--remove", action="store_true", help="take out; tokens for the project stop at once")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it."""
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}; `manage.py list_users` lists them.")
        try:
            if options["remove"]:
                remove_member(project, user)
            else:
                add_member(project, user.username, options["role"])
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        self.stdout.write(f"{project.slug}: {user.username} {'removed' if options['remove'] else options['role']}")
