"""``manage.py jobs_of``: the open jobs of an account, to release or to cancel them when their owner cannot."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduler.models import Job
from scheduler.services.requests import IllegalStateError, ask
from scheduler.services.verbs import JOB_VERBS
from scheduler.states import JOB_FINAL
from users.models import User

WAIT_S = 2.0
_VERBS = ("release", "cancel")


class Command(BaseCommand):
    """See the module's docstring."""

    help = "List the open jobs of an account; release or cancel those that can be, in the name of a lab admin."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("username")
        what = parser.add_mutually_exclusive_group()
        for verb in _VERBS:
            what.add_argument(f"--{verb}", action="store_const", const=verb, dest="verb")
        parser.add_argument("--by", metavar="ADMIN", help="whose decision it is: a lab admin or an operator")

    def handle(self, *args: Any, **options: Any) -> None:
        """List the jobs, and ask for what is wanted of each."""
        owner = User.objects.filter(username=options["username"]).first()
        if owner is None:
            raise CommandError(f"There is no account {options['username']!r}.")
        by = self._decider(options["by"]) if options["verb"] else None
        for job in Job.objects.filter(owner=owner).exclude(state__in=JOB_FINAL).order_by("id"):
            said = "" if by is None else f": {self._ask(options['verb'], by, job)}"
            self.stdout.write(f"{job.pk}  {job.state}  {job.name}{said}")

    def _decider(self, name: str | None) -> User:
        user = User.objects.filter(username=name, is_active=True).first()
        if user is None or not (user.is_lab_admin or user.operates()):
            raise CommandError("Say with --by which lab admin or operator decides this.")
        return user

    def _ask(self, verb: str, by: User, job: Job) -> str:
        if verb not in JOB_VERBS.get(job.state, frozenset()):
            return "left as it is"
        try:
            answer = ask(verb, by, job, WAIT_S, reason=f"in place of {job.owner.get_username()}")
        except IllegalStateError as error:
            return f"not done, {error}"
        return "done" if answer.applied else "asked for; the scheduler has not answered yet"
