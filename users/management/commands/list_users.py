"""List the accounts."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from users.models import Token, User


class Command(BaseCommand):
    """``manage.py list_users``."""

    help = "List the accounts, with their roles, projects and tokens."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the arguments."""
        parser.add_argument("--tokens", action="store_true", help="also list the tokens, without their secrets")
        parser.add_argument("--json", action="store_true", help="print one JSON object per line, for scripts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print one line per account and token."""
        users = User.objects.prefetch_related("lab_roles", "memberships__project", "auth_token_set")
        for user in users.order_by("username"):
            row = {
                "username": user.username,
                "active": user.is_active,
                "lab_roles": sorted(role.role for role in user.lab_roles.all()),
                "projects": {member.project.slug: member.role for member in user.memberships.all()},
            }
            if options["tokens"]:
                row["tokens"] = [_shown(token) for token in user.auth_token_set.all()]
            self.stdout.write(json.dumps(row) if options["json"] else _line(row))


def _shown(token: Token) -> dict[str, Any]:
    return {
        "id": str(token.uid),
        "name": token.name,
        "scopes": token.scopes,
        "expires_at": token.expiry.isoformat() if token.expiry else None,
        "last_used_at": token.last_used_at.isoformat() if token.last_used_at else None,
    }


def _line(row: dict[str, Any]) -> str:
    parts = [row["username"], "active" if row["active"] else "deactivated", *row["lab_roles"]]
    parts += [f"{slug}:{role}" for slug, role in row["projects"].items()]
    lines = ["  ".join(parts)]
    lines += [f"    {token['id']}  {token['name']}  {' '.join(token['scopes'])}" for token in row.get("tokens", ())]
    return "\n".join(lines)
