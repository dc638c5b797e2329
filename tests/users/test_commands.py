"""The commands of the people who run the server."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from modules.contract.lab import load
from scheduler.management.commands.create_lab import LABS
from users.authentication import authenticate_token
from users.models import Token, User

pytestmark = pytest.mark.django_db


def run(*arguments: Any) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_create_user_shows_a_random_password_and_a_token_once() -> None:
    shown = json.loads(run("create_user", "ann", "--token", "--scopes", "jobs:read,admin", "--json"))
    assert User.objects.get(username="ann").check_password(shown["password"])
    user, token = authenticate_token(shown["token"])
    assert user.username == "ann"
    assert token.scopes == ["jobs:read", "admin"]


def test_create_user_takes_a_password_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    shown = run("create_user", "ann", "--password-stdin", "--operator")
    user = User.objects.get(username="ann")
    assert user.check_password("correct horse battery")
    assert "battery" not in shown
    assert user.operates()


def test_create_user_says_what_is_wrong_and_leaves_nothing() -> None:
    run("create_user", "ann")
    with pytest.raises(CommandError, match="already"):
        run("create_user", "ann")
    with pytest.raises(CommandError, match="nonsense"):
        run("create_user", "ben", "--token", "--scopes", "nonsense")
    assert User.objects.count() == 1


def test_create_and_revoke_a_token() -> None:
    run("create_user", "ann")
    shown = json.loads(run("create_token", "ann", "--name", "notebook", "--project", "ann", "--days", "1", "--json"))
    assert authenticate_token(shown["token"])[1].expiry is not None
    run("revoke_token", shown["id"])
    assert not Token.objects.exists()
    with pytest.raises(CommandError, match="no token"):
        run("revoke_token", shown["id"])
    with pytest.raises(CommandError, match="no user"):
        run("create_token", "ben")


def test_list_users_shows_tokens_without_secrets() -> None:
    secret = json.loads(run("create_user", "ann", "--token", "--operator", "--json"))["token"]
    listed = json.loads(run("list_users", "--tokens", "--json"))
    assert listed["username"] == "ann"
    assert listed["lab_roles"] == ["operator"]
    assert listed["tokens"][0]["id"] in run("list_users", "--tokens")
    assert secret not in json.dumps(listed)


def test_an_admin_s_first_hour_at_the_command_line(data_root: Path) -> None:
    run("create_user", "ann")
    assert json.loads(run("lab_settings", "sign_up=invitation", 'mfa_for=["operator"]'))["mfa_for"] == ["operator"]
    assert run("create_project", "team", "--admin", "ann").strip() == "team"
    assert "/invitation/" in run("invite", "new@example.org", "--project", "team")
    assert "7" in run("set_quota", "--project", "team", "--open-jobs", "7")
    assert json.loads(run("lab_settings"))["sign_up"] == "invitation"
    run("create_user", "ben")
    assert run("add_member", "team", "ben", "--role", "viewer").strip() == "team: ben viewer"
    assert (
        run("set_role", "ben", "operator", "--modules", "uv_vis,furnace").strip() == "ben: operator of uv_vis, furnace"
    )
    assert User.objects.get(username="ben").operates("furnace")
    assert not User.objects.get(username="ben").operates("people")
    run("set_role", "ben", "operator", "--take")
    assert not User.objects.get(username="ben").operates()
    rules = ("--deny", "furnace", "--range", "uv_vis.measure.time - 60", "--approve-agents", "yes", "--share", "2")
    shown = json.loads(run("project_rules", "team", *rules))
    assert (shown["deny"], shown["ranges"]) == (["furnace"], {"uv_vis.measure.time": {"min": None, "max": 60.0}})
    shown = json.loads(run("project_rules", "team", "--deny", ""))
    assert (shown["deny"], shown["approve_agents"], shown["share"]) == ([], True, 2.0)
    assert json.loads(run("lab_settings", 'rules={"deny": ["furnace"]}'))["rules"] == {"deny": ["furnace"]}
    shown = json.loads(run("project_rules", "team", "--usual"))
    assert (shown["own"], shown["deny"], shown["share"]) == (False, ["furnace"], 2.0)
    assert run("usage", "--project", "team").startswith("month,project,user,module time (h)")
    run("add_member", "team", "ben", "--remove")
    assert "nothing changed or missing" in run("audit", "verify")
    assert "quota.set" in run("audit", "show", "--project", "team")


@pytest.mark.parametrize("like", ["real-example", "silver", "virtual"])
def test_a_lab_of_one_s_own_begins_with_a_file_that_works(tmp_path: Path, like: str) -> None:
    file = tmp_path / "lab.toml"
    name = 'Room "3.14" \\ µ'
    said = run("create_lab", str(file), "--name", name, "--timezone", "Europe/Berlin", "--like", like)
    lab = load(file)
    assert (lab.name, lab.timezone) == (name, "Europe/Berlin")
    assert lab.modules.keys() == load(LABS / f"{like}.toml").modules.keys()
    assert f"deploy/up --no-demo --lab {file}" in said
    before = file.read_text()
    with pytest.raises(CommandError, match="there already"):
        run("create_lab", str(file), "--name", "another")
    assert file.read_text() == before
    with pytest.raises(CommandError, match="timezone"):
        run("create_lab", str(tmp_path / "other.toml"), "--name", "x", "--timezone", "Mars/Olympus")
    assert not (tmp_path / "other.toml").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        ("lab_settings", "sign_up=everybody"),
        ("lab_settings", "nonsense"),
        ("lab_settings", 'rules={"deny": "furnace"}'),
        ("create_project", "../x", "--admin", "ann"),
        ("create_project", "team", "--admin", "nobody"),
        ("invite", "nonsense"),
        ("invite", "a@example.org", "--project", "nothing"),
        ("add_member", "nothing", "ann"),
        ("add_member", "ann", "ann", "--remove"),
        ("add_member", "ann", "nobody"),
        ("set_role", "nobody", "operator"),
        ("set_role", "ann", "admin", "--modules", "furnace"),
        ("set_role", "ann", "operator", "--modules", "../x"),
        ("project_rules", "nothing"),
        ("project_rules", "ann", "--deny", "a/b"),
        ("project_rules", "ann", "--range", "a.b.c"),
        ("usage", "--since", "June"),
        ("set_quota", "--user", "nobody"),
        ("set_quota", "--user", "ann", "--open-jobs", "-1"),
        ("set_quota", "--user", "ann", "--module-hours", "nan"),
    ],
)
def test_what_is_wrong_is_said(wrong: tuple[str, ...]) -> None:
    run("create_user", "ann")
    with pytest.raises(CommandError):
        run(*wrong)
