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
from users.policies.rules import Range, Rules, rules_of, set_rules, usual_rules
from users.policies.services import change_policy
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


def test_a_module_that_is_denied_is_denied_with_all_its_tasks_whatever_is_allowed(ann: Person) -> None:
    for rules in (
        {"deny": ["virtual"], "allow": ["virtual", "virtual.occupy"]},
        {"deny": ["virtual.occupy"], "allow": ["virtual.occupy"]},
    ):
        set_rules(project_of(ann), rules)
        assert "may not use `virtual.occupy`" in paths(post(ann, work()))["/workflow/0/task"]


def test_ranges_hold_for_what_a_template_makes_and_for_defaults(ann: Person) -> None:
    """What counts is what each task is told in the end, not what stands in the document."""
    set_rules(project_of(ann), {"ranges": {"virtual.occupy.time": {"max": 60}, "virtual.occupy.overrun": {"max": 0.5}}})
    swept = work("$t")
    swept["samples"] = {"sweep": {"t": ["10 s", "2 min", "20 s"]}}
    assert "/workflow/0/with/time" in paths(post(ann, swept))
    named = work("$t")
    named["parameters"] = {"t": "2 min"}
    assert "/workflow/0/with/time" in paths(post(ann, named))
    assert "/workflow/0/with/overrun" in paths(post(ann, work("1 s"))), "the default is 1"
    good = work("1 s")
    good["workflow"][0]["with"]["overrun"] = 0.5
    assert post(ann, good).status_code == 202


def test_every_cycle_of_a_campaign_meets_the_rules(ann: Person) -> None:
    def cycle(number: int, time: Any) -> Any:
        return post(ann, {**work(time), "campaign": "loop", "key": f"c{number}"})

    set_rules(project_of(ann), {"ranges": {"virtual.occupy.time": {"max": 60}}})
    assert cycle(1, "30 s").status_code == 202
    assert "/workflow/0/with/time" in paths(cycle(2, "2 min"))
    from_before = paths(cycle(3, {"ref": "virtual_occupy.seconds", "job": "c1"}))
    assert from_before, "a value of an earlier cycle is not known either"
    set_rules(project_of(ann), {"approve": ["virtual"]})
    assert cycle(4, "30 s").json()["state"] == "awaiting_approval"


def test_a_rule_cannot_be_left_behind_by_going_to_another_project(ann: Person) -> None:
    """The lab's usual rules hold in every project that has none of its own: everybody's personal one, and new ones."""
    assert ann.user
    services.create_project(ann.user, "team")
    change_policy(
        rules={"approve": ["virtual.occupy"], "deny": ["virtual.wait"], "ranges": {"virtual.occupy.time": {"max": 60}}}
    )
    services.create_project(ann.user, "another")
    newcomer = person("newcomer")
    for who, project in ((ann, "ann"), (ann, "team"), (ann, "another"), (newcomer, "newcomer")):
        assert post(who, {**work(), "project": project}).json()["state"] == "awaiting_approval"
        assert "/workflow/0/with/time" in paths(post(who, {**work("2 min"), "project": project}))
    olga = person("olga", operator=True)
    assert len(olga.client.get("/api/v1/operator/approvals").json()) == 4
    set_rules(Project.objects.get(slug="team"), {"deny": []})
    assert post(ann, {**work("2 min"), "project": "team"}).json()["state"] == "queued", "its own rules, which are none"
    set_rules(Project.objects.get(slug="team"), {})
    assert post(ann, {**work(), "project": "team"}).json()["state"] == "awaiting_approval"


def test_usual_rules_are_set_over_rest_by_lab_admins_and_wrong_ones_are_refused(ann: Person) -> None:
    boss = person("boss", EVERYTHING, admin=True)
    url = "/api/v1/lab/policy"
    answer = boss.client.patch(url, {"rules": {"deny": ["virtual.occupy"]}}, "application/json")
    assert answer.json()["rules"] == {"deny": ["virtual.occupy"]}
    assert "/workflow/0/task" in paths(post(ann, work()))
    shown = ann.client.get("/api/v1/projects/ann/rules").json()
    assert (shown["own"], shown["deny"]) == (False, ["virtual.occupy"])
    for wrong in ({"rules": {"deny": ["../x"]}}, {"rules": {"root": True}}, {"rules": "none"}, {"rules": {"share": 1}}):
        assert boss.client.patch(url, wrong, "application/json").status_code == 422, wrong
    assert ann.client.patch(url, {"rules": {}}, "application/json").status_code == 403
    for bad in ("x", {"deny": "virtual"}, {"ranges": {"a.b.c": {"min": 2, "max": 1}}}):
        with pytest.raises(AccountError):
            change_policy(rules=bad)
    assert usual_rules() == Rules(deny=("virtual.occupy",))
    assert AuditEntry.objects.filter(verb="lab.policy", actor="boss").count() == 1


def test_names_that_the_lab_does_not_have_are_told(ann: Person) -> None:
    boss = person("boss", EVERYTHING, admin=True)
    wish = {
        "deny": ["furnase", "virtual.occupi"],
        "approve": ["virtual"],
        "ranges": {"virtual.occupy.tyme": {"max": 1}},
    }
    shown = boss.client.put("/api/v1/projects/ann/rules", wish, "application/json").json()
    assert shown["unknown"] == ["furnase", "virtual.occupi", "virtual.occupy.tyme"]
    assert (
        boss.client.put("/api/v1/projects/ann/rules", {"deny": ["virtual"]}, "application/json").json()["unknown"] == []
    )


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


def test_an_approval_is_for_one_job_and_cannot_be_taken_along(ann: Person) -> None:
    """Not by doing it again, by another token, by changing it, by hand, or by asking twice."""
    olga = person("olga", operator=True)
    assert olga.user
    set_rules(project_of(ann), {"approve": ["virtual.occupy"], "approve_agents": True})
    made = post(ann, work()).json()
    assert olga.client.post(f"{URL}/{made['id']}/approve", {}, "application/json").status_code == 202
    Job.objects.update(state="queued")
    for who in (ann, another_token("other", ann), another_token("robot", ann, agent=True)):
        again = who.client.post(f"{URL}/{made['id']}/rerun")
        assert again.json()["state"] == "awaiting_approval"
        assert post(who, work()).json()["state"] == "awaiting_approval"
    change = {"workflow": [{"task": "virtual.occupy", "with": {"time": "1 h"}}]}
    assert ann.client.patch(f"{URL}/{made['id']}", change, "application/json").status_code == 422
    assert Job.objects.get(pk=made["id"]).spec["workflow"][0]["with"]["time"] != "1 h"
    robot = another_token("robot", ann, agent=True)
    first = robot.client.post(URL, work(task="virtual.noop"), "application/json", headers={"Idempotency-Key": "k"})
    again = ann.client.post(URL, work(task="virtual.noop"), "application/json", headers={"Idempotency-Key": "k"})
    assert first.json()["id"] == again.json()["id"]
    assert again.json()["state"] == "awaiting_approval"
    for verb in ("release", "resume", "hold", "pause"):
        assert ann.client.post(f"{URL}/{again.json()['id']}/{verb}", {}, "application/json").status_code == 409


def test_what_an_agent_runs_by_hand_waits_as_well(ann: Person) -> None:
    olga = person("olga", operator=True)
    assert olga.user
    set_rules(olga.user.personal_project, {"approve_agents": True})
    robot = another_token("robot", olga, agent=True, scopes=EVERYTHING)
    run = "/api/v1/modules/virtual/run"
    assert robot.client.post(run, {"task": "noop"}, "application/json").json()["state"] == "awaiting_approval"
    assert olga.client.post(run, {"task": "noop"}, "application/json").json()["state"] == "queued"


def test_what_an_operator_does_by_hand_is_not_about_projects(ann: Person) -> None:
    change_policy(rules={"deny": ["virtual.wait"], "approve": ["virtual"]})
    run = {"task": "wait", "parameters": {"time": "1 s"}}
    made = person("olga", operator=True).client.post("/api/v1/modules/virtual/run", run, "application/json")
    assert made.json()["state"] == "queued", made.content
    assert ann.client.post("/api/v1/modules/virtual/run", run, "application/json").status_code == 403


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
    Job.objects.update(state="running")
    assert client.post(where, {"decision": "approve"}).status_code == 404, "no operator learns what others' jobs do"
    Job.objects.update(state="awaiting_approval")
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


def test_a_project_s_page_is_for_its_members_and_its_rules_for_lab_admins(world: World) -> None:
    def browser(who: Person) -> Client:
        client = Client()
        assert who.user
        client.force_login(who.user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    url = "/projects/team"
    assert browser(world.outsider).get(url).status_code == 404
    assert browser(world.operator).get(url).status_code == 404
    assert Client().get(url).status_code == 302
    viewer, lead, admin = browser(world.viewer), browser(world.lead), browser(world.admin)
    assert "owner" in viewer.get(url).content.decode()
    member = {"do": "member", "username": "outsider", "role": "viewer"}
    rules = {
        "do": "rules", "allow": "", "deny": "bench.heat, oven", "approve": "bench", "approve_agents": "on",
        "share": "2", "ranges": "bench.measure.time 1 60\nbench.measure.speed - 3",
    }  # fmt: skip
    assert viewer.post(f"{url}/change", member).status_code == 404
    assert viewer.post(f"{url}/change", rules).status_code == 404
    assert lead.post(f"{url}/change", rules).status_code == 404
    assert lead.post(f"{url}/change", member).status_code == 302
    assert admin.post(f"{url}/change", rules).status_code == 302
    project = Project.objects.get(slug="team")
    found = rules_of(project)
    assert (found.allow, found.deny, found.approve) == (None, ("bench.heat", "oven"), ("bench",))
    assert found.ranges["bench.measure.speed"] == Range(max=3)
    assert (found.approve_agents, project.share) == (True, 2.0)
    page = admin.get(url).content.decode()
    assert "bench.measure.time 1 60\nbench.measure.speed - 3" in page
    assert "The lab has no" in page
    for wrong in ({"ranges": "bench.measure.time"}, {"share": "much"}, {"deny": "../x"}):
        admin.post(f"{url}/change", {**rules, **wrong})
    assert rules_of(Project.objects.get(slug="team")) == found
    assert lead.get("/admin/rules").status_code == lead.post("/admin/rules", rules).status_code == 404
    assert admin.post("/admin/rules", {"deny": "oven", "approve_agents": "on"}).status_code == 302
    assert (usual_rules().deny, usual_rules().approve_agents) == (("oven",), True)
    assert "oven" in admin.get("/admin/rules").content.decode()
    assert lead.post(f"{url}/change", {"do": "usual"}).status_code == 404
    assert admin.post(f"{url}/change", {"do": "usual"}).status_code == 302
    assert rules_of(Project.objects.get(slug="team")) == usual_rules()
    assert "the lab&#x27;s usual ones" in (page := admin.get(url).content.decode()) or "the lab's usual ones" in page
    lead.post(f"{url}/change", {"do": "remove", "username": "outsider"})
    lead.post(f"{url}/change", {"do": "remove", "username": "lead"})
    lead.post(f"{url}/change", {"do": "change", "name": "The others", "shows_names": "on"})
    project.refresh_from_db()
    assert (project.name, project.shows_names) == ("The others", True)
    assert set(project.memberships.values_list("user__username", flat=True)) == {"owner", "member", "viewer", "lead",
                                                                                "deactivated"}  # fmt: skip
