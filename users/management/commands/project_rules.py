"""Show and set what a project's jobs may use."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from users.models import Project
from users.policies import text
from users.policies.rules import rules_of, set_rules
from users.services import AccountError


class Command(BaseCommand):
    """``manage.py project_rules SLUG [--deny furnace …]``."""

    help = "Show a project's rules, or change some; what is not named stays. '' empties a list."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("slug", help="short name")
        parser.add_argument("--allow", help="modules and module.task, separated by commas; '' for everything")
        parser.add_argument("--deny", help="the same; wins over --allow")
        parser.add_argument("--approve", help="the same: an operator approves jobs with these first")
        parser.add_argument(
            "--range", action="append", metavar="'MODULE.TASK.PARAMETER LEAST GREATEST'", help="- for none"
        )
        parser.add_argument("--approve-agents", choices=("yes", "no"), help="whether agents' jobs are approved first")
        parser.add_argument("--usual", action="store_true", help="no rules of its own: the lab's usual ones hold")
        parser.add_argument("--share", type=float, help="part of the lab in proportion to the others'")

    def handle(self, *args: Any, **options: Any) -> None:
        """Change what is asked for, and print everything."""
        from scheduler.services.approval import unknown_names

        project = Project.objects.filter(slug=options["slug"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['slug']!r}.")
        try:
            changes, own = _changes(options), {} if options["usual"] else project.policy
            if changes or options["usual"] or options["share"] is not None:
                set_rules(project, {**own, **changes}, share=options["share"])
        except AccountError as error:
            raise CommandError(f"{error.path}: {error}") from error
        project.refresh_from_db()
        rules = rules_of(project)
        shown = {"own": bool(project.policy), **rules.model_dump(mode="json"), "share": project.share}
        self.stdout.write(json.dumps(shown, indent=2))
        if unknown := unknown_names(rules):
            self.stderr.write(f"The lab has no {', '.join(unknown)} at present: mistyped, or its module is away.")


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {
        name: text.names(options[name]) for name in ("allow", "deny", "approve") if options[name] is not None
    }
    if "allow" in changes and not changes["allow"]:
        changes["allow"] = None
    if options["range"] is not None:
        changes["ranges"] = text.ranges("\n".join(options["range"]))
    if options["approve_agents"] is not None:
        changes["approve_agents"] = options["approve_agents"] == "yes"
    return changes
