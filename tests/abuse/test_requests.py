"""One test for each hole that servers of this kind have had."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from octolab.ids import new_id
from octolab.logs import LineFormatter
from scheduler.models import Event, Job, Request
from tests.cast import Person, World, make_job, person
from users import services
from users.models import LabRole, Project

URL = "/api/v1/jobs"
NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:
    """A user in a virtual lab."""
    open_lab("virtual")
    return person("ann")


def post(who: Person, url: str, body: Any) -> Any:
    return who.client.post(url, body, content_type="application/json")


@pytest.mark.parametrize("field", ["owner", "owner_id", "user", "id", "state", "simulated", "submitted_at", "actor"])
def test_the_owner_is_never_taken_from_the_payload(ann: Person, field: str) -> None:
    ben = person("ben")
    assert ben.user is not None
    refused = post(ann, URL, {**NOOP, field: str(ben.user.pk)})
    assert refused.status_code == 422
    assert not Job.objects.exists()
    made = post(ann, URL, NOOP)
    assert Job.objects.get(pk=made.json()["id"]).owner == ann.user


def test_another_user_s_job_is_not_there_by_any_road(world: World) -> None:
    for road in ("", "/logs", "/metrics", "/results", "/results.csv", "/files", "/files/job.nxs", "/arrays/x"):
        response = world.outsider.client.get(f"{URL}/{world.job.pk}{road}")
        nothing = world.outsider.client.get(f"{URL}/{new_id()}{road}")
        assert response.status_code == nothing.status_code == 404
        assert response.json()["detail"] == nothing.json()["detail"], "the answer tells that it exists"
    for query in ("", "?owner=owner", "?project=team", "?text=secret", f"?cursor={new_id()}"):
        assert world.outsider.client.get(f"{URL}{query}").json()["results"] == []


def test_another_user_s_job_is_not_in_the_event_stream(world: World) -> None:
    theirs = world.outsider.client.get("/api/v1/events").json()
    assert theirs["results"] == []
    assert world.outsider.client.get(f"/api/v1/events?job={world.job.pk}").json()["results"] == []
    assert [event["job"] for event in world.viewer.client.get("/api/v1/events").json()["results"]] == [
        str(world.job.pk)
    ]


def test_lab_events_name_nobody(world: World) -> None:
    Event.objects.create(
        seq=50, at=world.job.submitted_at, lab_s=1, kind="device", subject="arm", actor="owner", data={"job": "secret"}
    )
    Event.objects.create(seq=51, at=world.job.submitted_at, lab_s=1, kind="plan", subject="1", data={"job": "secret"})
    [event] = world.outsider.client.get("/api/v1/events").json()["results"]
    assert (event["subject"], event["actor"], event["data"]) == ("arm", "", {})
    assert "owner" in {event["actor"] for event in world.operator.client.get("/api/v1/events").json()["results"]}


def test_other_people_s_work_is_busy_without_names(world: World) -> None:
    [bar] = world.outsider.client.get("/api/v1/plan").json()["steps"]
    assert bar == {
        "busy": True,
        "devices": {"arm": "use"},
        "start": {"lab_s": 1.0, "at": None},
        "end": {"lab_s": 10.0, "at": None},
    }
    assert world.viewer.client.get("/api/v1/plan").json()["steps"][0]["job_name"] == "secret recipe"
    [place] = world.outsider.client.get("/api/v1/storage").json()
    assert place["taken"]
    assert place["sample"] is place["sample_name"] is place["job"] is None


def test_a_member_who_has_left_sees_nothing_any_more(world: World) -> None:
    url = f"{URL}/{world.job.pk}"
    assert world.owner.client.get(url).status_code == 200
    assert world.owner.user is not None
    services.remove_member(world.project, world.owner.user)
    assert world.owner.client.get(url).status_code == 404
    assert world.owner.client.generic("POST", f"{url}/cancel").status_code == 404
    assert not Request.objects.exists()


def test_an_inactive_user_s_token_and_session_stop(world: World) -> None:
    assert world.member.user is not None
    session = Client()
    session.force_login(world.member.user, backend="django.contrib.auth.backends.ModelBackend")
    assert session.get(URL).status_code == 200
    services.deactivate(world.member.user)
    assert session.get(URL).status_code == 401
    assert world.member.client.get(URL).status_code == 401


@pytest.mark.parametrize(
    "path",
    [
        "jobs/../../etc/passwd",
        "jobs/..%2f..%2fetc%2fpasswd",
        "jobs/%2e%2e/%2e%2e/settings.py",
        "modules/..%2f..%2fsecrets",
        "stocks/%00/refill",
        "projects/..%5c..%5cwindows",
        "jobs/{job}/files/..%2f..%2f..%2fsecrets%2fsecret_key",
        "jobs/{job}/files/%2fetc%2fpasswd",
        "jobs/{job}/files/..",
        "jobs/{job}/arrays/..%2f..%2fx",
    ],
)
def test_paths_lead_nowhere_else(world: World, path: str) -> None:
    response = world.owner.client.get("/api/v1/" + path.replace("{job}", str(world.job.pk)))
    assert response.status_code in {404, 405}
    assert b"root:" not in response.content


@pytest.mark.parametrize("slug", ["../x", "a/b", "a\\b", "..", "%2e%2e", "a b", "A", "", "x" * 64, "a\n", "ünï", "a\0"])
def test_a_project_s_name_cannot_be_a_path(world: World, slug: str) -> None:
    before = Project.objects.count()
    assert post(world.owner, "/api/v1/projects", {"slug": slug}).status_code in {400, 422}
    assert Project.objects.count() == before


def test_an_oversized_body_is_refused(ann: Person, settings: Any) -> None:
    settings.MAX_BODY_BYTES = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10_000
    assert post(ann, URL, {**NOOP, "description": "x" * 20_000}).status_code == 413
    assert not Job.objects.exists()


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"workflow":['])
def test_deeply_nested_bodies_are_refused(ann: Person, opening: str) -> None:
    for depth in (50, 10_000, 100_000):
        response = ann.client.generic("POST", URL, opening * depth, "application/json")
        assert response.status_code == 400
    assert ann.client.generic("POST", URL, "[" * 10_000, "application/yaml").status_code == 422
    assert ann.client.generic("POST", URL, "a: " * 10_000, "application/yaml").status_code == 422


@pytest.mark.parametrize(
    "text",
    [
        "name: !!python/object/apply:os.system ['touch /tmp/owned']\nworkflow: []",
        "name: &a x\nworkflow: [*a]",
        "a: &a [x,x,x,x]\nb: &b [*a,*a,*a,*a]\nc: [*b,*b,*b]",
        "name: x\n<<: {a: 1}\nworkflow: []",
    ],
)
def test_yaml_is_data_and_nothing_else(ann: Person, text: str) -> None:
    assert ann.client.generic("POST", URL, text, "application/yaml").status_code == 422
    assert post(ann, URL, {"document": text}).status_code == 422
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("method", "url"),
    [("POST", "/api/v1/tokens"), ("POST", "/api/v1/projects"), ("POST", URL), ("POST", f"{URL}/preview")],
)
def test_unknown_fields_are_refused(ann: Person, method: str, url: str) -> None:
    credentials = {"username": "ann", "password": "x"} if url.endswith("tokens") else {}
    response = ann.client.generic(method, url, json.dumps({**credentials, "is_superuser": True}), "application/json")
    assert response.status_code == 422
    assert "/is_superuser" in {error["path"] for error in response.json()["errors"]}


def test_the_role_cannot_be_taken(world: World) -> None:
    step = f"/api/v1/steps/{world.step.pk}/decide"
    verdict = {"decision": "done", "note": "trust me"}
    for who in (world.owner, world.lead, world.admin):
        assert post(who, step, verdict).status_code == 403
        assert post(who, "/api/v1/stocks/vials/refill", {"level": 1}).status_code == 403
    assert world.owner.user is not None
    services.set_lab_role(world.owner.user, LabRole.Role.OPERATOR, ["another_module"])
    assert post(world.owner, step, verdict).status_code == 404
    assert world.owner.client.get("/api/v1/operator/attention").json() == {
        "steps": [],
        "late": [],
        "overdue": [],
        "stranded": [],
        "devices": [],
    }
    assert not Request.objects.exists()


def test_a_header_cannot_be_injected(ann: Person) -> None:
    made = post(ann, URL, {**NOOP, "name": "a\r\nSet-Cookie: admin=1"})
    assert "Set-Cookie" not in made.headers
    for value in ("k\r\nX-Evil: 1", "k\nX-Evil: 1"):
        response = ann.client.post(URL, NOOP, content_type="application/json", headers={"Idempotency-Key": value})
        assert response.status_code == 422
        assert "X-Evil" not in response.headers


def test_a_log_line_cannot_be_forged(ann: Person, caplog: pytest.LogCaptureFixture) -> None:
    ann.client.get("/api/v1/x%0d%0a2026-01-01 CRITICAL forged%1b[2J")
    lines = [LineFormatter("%(message)s").format(record) for record in caplog.records]
    assert [line for line in lines if "forged" in line]
    assert not [line for line in lines if set(line) & set("\r\n\x1b")]


def test_a_page_elsewhere_cannot_submit_with_the_cookie(ann: Person) -> None:
    assert ann.user is not None
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann.user, backend="django.contrib.auth.backends.ModelBackend")
    for media_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        response = client.generic("POST", URL, json.dumps(NOOP), media_type, headers={"Origin": "https://evil.example"})
        assert response.status_code in {403, 415}
    assert not Job.objects.exists()


def test_there_is_no_open_redirect(ann: Person) -> None:
    for path in ("/api/v1//evil.example/", "/\\evil.example"):
        assert ann.client.get(path).status_code == 404


def test_a_token_in_the_address_is_no_credential(ann: Person) -> None:
    assert Client().get(f"{URL}?token={ann.secret}").status_code == 401
    assert Client().get(URL, headers={"Cookie": f"token={ann.secret}"}).status_code == 401


def test_a_token_for_one_project_does_not_reach_another_s_job(world: World) -> None:
    assert world.owner.user is not None
    own, _, _ = make_job(world.owner.user, world.owner.user.personal_project, "own")
    assert [job["id"] for job in world.elsewhere.client.get(URL).json()["results"]] == [str(own.pk)]
    assert world.elsewhere.client.get(f"{URL}/{world.job.pk}").status_code == 404
    assert world.elsewhere.client.get("/api/v1/me").json()["projects"] == {"owner": "admin"}


def test_figures_are_for_this_machine_or_a_lab_admin(world: World) -> None:
    away = {"REMOTE_ADDR": "192.0.2.1"}
    url = "/api/v1/metrics"
    assert world.anonymous.client.get(url).status_code == 200
    assert world.anonymous.client.get(url, **away).status_code == 401  # type: ignore[arg-type]
    # A proxy on this machine does not make everybody local.
    assert world.anonymous.client.get(url, headers={"X-Forwarded-For": "192.0.2.1"}).status_code == 401
    assert world.owner.client.get(url, **away).status_code == 403  # type: ignore[arg-type]
    shown = world.admin.client.get(url, **away)  # type: ignore[arg-type]
    assert shown.status_code == 200
    assert b'octolab_jobs{state="queued"} 1.0' in shown.content
    assert b"secret recipe" not in shown.content
