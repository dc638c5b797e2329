"""What projects may use, what they have approved, and what they show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from notifications.models import Channel, Notification
from scheduler.models import Job
from tests.cast import EVERYTHING, Person, World, another_token, make_world, person
from tests.jobs.conftest import open_lab  # noqa: F401
from users import services
from users.audit.models import AuditEntry
from users.models import LabRole, Project
from users.policies.rules import Range, Rules, rules_of, set_rules
from users.services import AccountError

URL = "/api/v1/jobs"
pytestmark = pytest.mark.django_db


def work(time: Any = "36 s", task: str = "virtual.occupy") -> dict[str, Any]:
    return {"name": "Work", "workflow": [{"task": task, **({"with": {"time": time}} if "occupy" in task else {})}]}


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:  # noqa: F811
    """A user in a virtual lab."""
    open_lab("virtual")
    return person("ann")


@pytest.fixture
def world(db: None) -> World:
    """One team, and everybody around."""
    return make_world()


def project_of(who: Person) -> Project:
    assert who.user
    return who.user.personal_project


def post(who: Person, body: Any) -> Any:
    return who.client.post(URL, body, content_type="application/json")


def paths(answer: Any) -> dict[str, str]:
    assert answer.status_code == 422, answer.content
    return {error["path"]: error["message"] for error in answer.json()["errors"]}


@pytest.mark.parametrize("rules", [{"deny": ["virtual"]}, {"deny": ["virtual.occupy"]}, {"allow": ["uv_vis"]},
                                   {"allow": []}, {"allow": ["virtual"], "deny": ["virtual.occupy"]}])  # fmt: skip
def test_what_a_project_may_not_use_is_refused_by_name(ann: Person, rules: dict[str, Any]) -> None:
    set_rules(project_of(ann), rules)
    assert "may not use `virtual.occupy`" in paths(post(ann, work()))["/workflow/0/task"]
    assert paths(post(ann, work()).client.post(f"{URL}/preview", work(), "application/json", headers={
        "Authorization": f"Bearer {ann.secret}"}))  # fmt: skip
    assert not Job.objects.exists()


@pytest.mark.parametrize("rules", [{}, {"allow": ["virtual"]}, {"allow": ["virtual.occupy"], "deny": ["uv_vis"]}])
def test_what_it_may_use_is_accepted(ann: Person, rules: dict[str, Any]) -> None:
    set_rules(project_of(ann), rules)
    assert post(ann, work()).status_code == 202


def test_ranges_hold_in_the_manifest_s_unit(ann: Person) -> None:
    set_rules(project_of(ann), {"ranges": {"virtual.occupy.time": {"min": 10, "max": 60}}})
    assert post(ann, work("1 min")).status_code == 202
    for time in ("2 min", "1 s"):
        assert "at least 10 and at most 60" in paths(post(ann, work(time)))["/workflow/0/with/time"]


def test_a_result_cannot_get_around_a_range(ann: Person) -> None:
    set_rules(project_of(ann), {"ranges": {"virtual.occupy.time": {"max": 60}}})
    job = work()
    job["workflow"] = [
        {"task": "virtual.occupy", "id": "first", "with": {"time": "30 s"}},
        {"task": "virtual.occupy", "with": {"time": "$first.seconds"}},
    ]
    assert "a result is not known yet" in paths(post(ann, job))["/workflow/1/with/time"]


def test_a_rerun_meets_the_rules_of_today(ann: Person) -> None:
    made = post(ann, work()).json()
    set_rules(project_of(ann), {"deny": ["virtual"]})
    assert ann.client.post(f"{URL}/{made['id']}/rerun").status_code == 422


@given(value=st.floats() | st.integers() | st.booleans() | st.text(max_size=3) | st.none(), least=st.floats(-10, 0),
       most=st.floats(0, 10))  # fmt: skip
def test_only_numbers_in_the_range_pass(value: Any, least: float, most: float) -> None:
    rules = Rules(ranges={"m.t.p": Range(min=least, max=most)})
    refused = list(rules.out_of_range("m", "t", {"p": value}))
    inside = value is None or (
        isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
    )
    assert (refused == []) == inside
    assert list(rules.out_of_range("m", "other", {"p": value})) == []


@pytest.mark.parametrize("rules", [{"deny": ["a b"]}, {"deny": ["../x"]}, {"ranges": {"a.b": {}}}, {"root": True},
                                   {"ranges": {"a.b.c": {"min": 2, "max": 1}}}, {"allow": "virtual"},
                                   {"ranges": {"a.b.c": {"max": float("nan")}}}, {"deny": ["x\n"]}])  # fmt: skip
def test_wrong_rules_are_refused_and_leave_nothing(ann: Person, rules: dict[str, Any]) -> None:
    with pytest.raises(AccountError):
        set_rules(project_of(ann), rules)
    assert rules_of(Project.objects.get(pk=project_of(ann).pk)) == Rules()


def test_a_job_that_needs_approval_waits_and_operators_are_told(ann: Person) -> None:
    olga, omar = person("olga", operator=True), person("omar")
    assert omar.user
    services.set_lab_role(omar.user, LabRole.Role.OPERATOR, ["another"])
    for who in (olga, omar, ann):
        Channel.objects.create(user=who.user, name="chat", url="json://127.0.0.1:9/")
    set_rules(project_of(ann), {"approve": ["virtual.occupy"]})
    made = post(ann, work()).json()
    assert (made["state"], made["status"]) == ("awaiting_approval", "Queued")
    assert "virtual.occupy" in made["state_reason"]
    assert [(row.user.username, row.event) for row in Notification.objects.all()] == [("olga", "needs_approval")]
    [shown] = olga.client.get("/api/v1/operator/approvals").json()
    assert (shown["id"], shown["owner"], shown["spec"]["name"]) == (made["id"], "ann", "Work")
    assert omar.client.get("/api/v1/operator/approvals").json() == []
    assert post(ann, work(task="virtual.noop")).json()["state"] == "queued"


def test_who_may_decide_about_it(ann: Person) -> None:
    olga, omar = person("olga", operator=True), person("omar")
    assert omar.user
    services.set_lab_role(omar.user, LabRole.Role.OPERATOR, ["another"])
    set_rules(project_of(ann), {"approve": ["virtual"]})
    url = f"{URL}/{post(ann, work()).json()['id']}"

    def ask(who: Person, verb: str = "approve", **body: Any) -> int:
        return int(who.client.post(f"{url}/{verb}", body, "application/json").status_code)

    assert ask(ann) == 403
    assert ask(omar) == 404
    assert ask(person("outsider")) == 403
    assert ask(olga, "reject") == 422, "a rejection says why"
    robot = another_token("robot", olga, agent=True, scopes=EVERYTHING)
    assert ask(robot) == 403
    assert ask(olga) == 202
    assert AuditEntry.objects.latest("seq").verb == "job.approve"
    Job.objects.update(state="queued")
    assert ask(olga) == 404, "an operator sees no job of others that does not wait"


def test_an_agent_s_jobs_wait_where_the_project_wants_it(ann: Person) -> None:
    robot = another_token("robot", ann, agent=True)
    assert post(robot, work()).json()["state"] == "queued"
    set_rules(project_of(ann), {"approve_agents": True})
    assert post(robot, work()).json()["state"] == "awaiting_approval"
    assert post(ann, work()).json()["state"] == "queued"
    assert Job.objects.filter(by_agent=True).count() == 2
    olga = person("olga", operator=True)
    assert len(olga.client.get("/api/v1/operator/approvals").json()) == 1


def test_the_desk_shows_and_decides(ann: Person) -> None:
    olga = person("olga", operator=True)
    set_rules(project_of(ann), {"approve": ["virtual"]})
    made = post(ann, work()).json()
    client = Client()
    assert olga.user
    client.force_login(olga.user, backend="django.contrib.auth.backends.ModelBackend")
    page = client.get("/operator").content.decode()
    assert "Waits for approval" in page
    assert "virtual.occupy" in page
    where = f"/operator/jobs/{made['id']}/approval"
    assert client.post(where, {"decision": "reject"}).status_code == 302
    assert not Job.objects.get().requests.exists()
    assert client.post(where, {"decision": "approve", "note": "fine"}).status_code == 302
    assert Job.objects.get().requests.get().verb == "approve"
    outsider = Client()
    assert ann.user
    outsider.force_login(ann.user, backend="django.contrib.auth.backends.ModelBackend")
    assert outsider.post(where, {"decision": "approve"}).status_code == 404


def test_a_project_that_shares_names_shows_them_in_the_plan_and_nothing_else(world: World) -> None:
    assert world.outsider.client.get("/api/v1/plan").json()["steps"][0].get("job_name") is None
    answer = world.lead.client.patch("/api/v1/projects/team", {"shows_names": True}, "application/json")
    assert answer.json()["shows_names"] is True
    [bar] = world.outsider.client.get("/api/v1/plan").json()["steps"]
    assert bar["job_name"] == "secret recipe"
    assert bar["busy"] is True
    assert set(bar) == {"busy", "devices", "start", "end", "job_name"}
    assert world.outsider.client.get(f"{URL}/{world.job.pk}").status_code == 404


def test_rules_and_share_are_the_lab_admin_s(world: World) -> None:
    url = "/api/v1/projects/team/rules"
    wish = {"deny": ["furnace"], "ranges": {"uv.measure.time": {"max": 5}}, "share": 2.5}
    shown = world.admin.client.put(url, wish, "application/json").json()
    assert (shown["deny"], shown["share"]) == (["furnace"], 2.5)
    assert world.viewer.client.get(url).json() == shown
    assert world.lead.client.put(url, {}, "application/json").status_code == 403
    for wrong in ({"deny": ["a b"]}, {"share": 0}, {"share": 1e9}, {"root": 1}, {"ranges": {"a": {"max": 1}}}):
        assert world.admin.client.put(url, wrong, "application/json").status_code == 422
    assert world.admin.client.put(url, {}, "application/json").json()["share"] == 2.5
    assert AuditEntry.objects.filter(verb="project.rules", project="team", actor="admin").count() == 2
