"""Code in parameters, templates, names and constraints: refused, or it stays a text. Only 4xx, and nothing runs."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.models import Job
from tests.cast import EVERYTHING, Person, person
from users.policies.services import change_policy
from users.services import add_member, create_project

URL = "/api/v1/jobs"
SNIPPETS = (
    "__import__('os').system('touch {bomb}')",
    "exec(\"open('{bomb}','w')\")",
    "().__class__.__base__.__subclasses__()",
    "{{{{7*7}}}}",
    "{{% load static %}}{{% include '/etc/passwd' %}}",
    "{{{{ settings.SECRET_KEY }}}}",
    "${{jndi:ldap://127.0.0.1/a}}",
    "$(touch {bomb})",
    "`touch {bomb}`",
    "; touch {bomb};",
    "' OR 1=1 --",
    "1; DROP TABLE scheduler_job",
    '{{"$where": "sleep(9)"}}',
    "$where",
    "$silver.__class__",
    "$a.b.c.d",
    "$",
    "$$",
    "10 ** 10 ** 10 mL",
    "9e999 mL",
    "1e400",
    "(1+1) mL",
    "lambda: 0",
    "%(password)s",
    "%n%n%s",
    "{{0.__class__}}",
    "<script>alert(1)</script>",
    "=cmd|'/c calc'!A1",
    "../../../etc/passwd",
    "\u202e\ufeff",
    "1 mL" * 2000,
    "((((((((((" * 50,
    "µ" * 100,
    "nan",
    "-inf s",
    "5 min / 0",
)
KEYS = ("name", "workflow", "samples", "parameters", "project", "description", "tags", "priority", "deadline",
        "retries", "recipients", "end", "format")  # fmt: skip
TASK_KEYS = ("task", "id", "with", "needs", "after", "within", "on_failure", "on_breach")


def texts(bomb: Path) -> st.SearchStrategy[str]:
    """Return snippets of code, and any other text."""
    snippets = st.sampled_from([snippet.format(bomb=bomb) for snippet in SNIPPETS])
    return st.one_of(snippets, st.text(string.printable, max_size=20), st.text(max_size=10))


def anything(bomb: Path) -> st.SearchStrategy[Any]:
    """Return any JSON with code in it."""
    leaves = st.one_of(texts(bomb), st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False))
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts(bomb), inner, max_size=3)),
        max_leaves=6,
    )


@st.composite
def jobs(draw: st.DrawFn, bomb: Path) -> dict[str, Any]:
    """Return a job that would be good but for one to three places."""
    job: dict[str, Any] = {
        "name": "Good",
        "parameters": {"long": "5 s"},
        "samples": {"sweep": {"wait": ["1 s", "2 s"]}},
        "workflow": [
            {"id": "in", "task": "virtual.enter"},
            {"id": "wait", "task": "virtual.wait", "with": {"time": "$wait"}, "within": {"in": "10 min"}},
            {"id": "occupy", "task": "virtual.occupy", "with": {"duration": "$long"}, "after": "1 s"},
            {"id": "out", "task": "virtual.leave"},
        ],
    }
    tasks = list(job["workflow"])
    for _ in range(draw(st.integers(1, 3))):
        evil = draw(anything(bomb))
        match draw(st.integers(0, 6)):
            case 0:
                job[draw(st.sampled_from(KEYS))] = evil
            case 1:
                draw(st.sampled_from(tasks))[draw(st.sampled_from(TASK_KEYS))] = evil
            case 2:
                job["parameters"] = {draw(texts(bomb)): evil}
            case 3:
                job["samples"] = {"sweep": {draw(texts(bomb)): [evil]}}
            case 4:
                draw(st.sampled_from(tasks))["within"] = {draw(texts(bomb)): evil}
            case 5:
                draw(st.sampled_from(tasks))["with"] = {draw(st.sampled_from(["time", "duration", "x"])): evil}
            case _:
                job[draw(texts(bomb))] = evil
    return job


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:
    """A user in a virtual lab, who may open many jobs."""
    open_lab("virtual")
    change_policy(open_jobs_per_user=None)
    return person("ann", EVERYTHING)


def test_code_in_jobs_is_refused_or_stays_a_text(ann: Person, tmp_path: Path) -> None:
    bomb = tmp_path / "owned"

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(job=jobs(bomb), as_text=st.booleans())
    def attack(job: dict[str, Any], as_text: bool) -> None:
        text = json.dumps(job)
        media_type = "application/yaml" if as_text else "application/json"
        response = ann.client.generic("POST", URL, text, media_type)
        assert response.status_code in {202, 400, 422}, (response.status_code, text, response.content[:500])
        if response.status_code == 202:
            kept = Job.objects.get(pk=response.json()["id"])
            assert kept.owner == ann.user
            if isinstance(job.get("name"), str):
                assert kept.name == job["name"].strip()
        assert not bomb.exists()

    attack()


def test_code_in_rules_and_other_texts_is_refused_or_stays_a_text(ann: Person, tmp_path: Path) -> None:
    bomb = tmp_path / "owned"
    assert ann.user is not None
    boss = person("boss", EVERYTHING, admin=True)
    assert boss.user is not None
    add_member(create_project(ann.user, "team"), "boss")
    ways = (
        ("PUT", "/api/v1/projects/team/rules", ("allow", "deny", "ranges", "approve", "share")),
        ("PATCH", "/api/v1/lab/policy", ("sign_up", "mfa_for", "half_life_h", "open_jobs_per_user")),
        ("PUT", "/api/v1/quotas/users/ann", ("open_jobs", "module_hours")),
        ("POST", "/api/v1/channels", ("name", "url", "events")),
        ("POST", "/api/v1/projects", ("slug", "name")),
        ("GET", "/api/v1/jobs", ("text", "owner", "project", "cursor", "state", "limit", "order")),
        ("GET", "/api/v1/audit", ("actor", "verb", "subject", "text", "since", "before")),
        ("GET", "/api/v1/accounting", ("since", "until", "project", "user")),
        ("GET", "/api/v1/events", ("since", "limit", "job")),
    )

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(way=st.sampled_from(ways), data=st.data())
    def attack(way: tuple[str, str, tuple[str, ...]], data: st.DataObject) -> None:
        method, path, fields = way
        field = data.draw(st.sampled_from(fields))
        if method == "GET":
            response = boss.client.get(path, {field: data.draw(texts(bomb))})
        else:
            body = json.dumps({field: data.draw(anything(bomb))})
            response = boss.client.generic(method, path, body, "application/json")
        assert response.status_code < 500, (way, response.content[:500])
        assert not bomb.exists()

    attack()


@pytest.mark.parametrize(
    "text", ["{{ 7|add:42 }}", "{% now 'Y' %}", "<img src=x onerror=alert(1)>", '"><script>x</script>']
)
def test_code_in_names_is_shown_and_not_run(ann: Person, text: str) -> None:
    from django.test import Client

    assert ann.user is not None
    made = ann.client.post(URL, {"name": text, "description": text, "workflow": [{"task": "virtual.noop"}]},
                           content_type="application/json")  # fmt: skip
    assert made.status_code == 202
    browser = Client()
    browser.force_login(ann.user, backend="django.contrib.auth.backends.ModelBackend")
    for page in ("/jobs", f"/jobs/{made.json()['id']}", "/"):
        shown = browser.get(page).content.decode()
        assert "<img src=x" not in shown
        assert "<script>x" not in shown
        if page == "/jobs" and "{" in text:
            assert text.replace("'", "&#x27;") in shown
