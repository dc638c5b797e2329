"""Jobs over REST, on the shipped virtual lab."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from octolab.ids import new_id
from scheduler.models import Job, Request, Step
from scheduler.states import JobState, StepState
from tests.cast import EVERYTHING, Person, another_token, person
from users import services

NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}
URL = "/api/v1/jobs"


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:
    """A user in a virtual lab."""
    open_lab("virtual")
    return person("ann")


def submit(who: Person, job: Any = NOOP, **headers: str) -> Any:
    return who.client.post(URL, job, content_type="application/json", headers=headers)


def test_submit_answers_at_once_with_the_job(ann: Person) -> None:
    response = submit(ann)
    assert response.status_code == 202
    shown = response.json()
    assert response.headers["Location"] == f"{URL}/{shown['id']}"
    assert shown["state"] == "queued"
    assert shown["status"] == "Queued"
    assert shown["owner"] == shown["project"] == "ann"
    assert shown["simulated"] is True
    assert shown["predicted_start"] is None
    assert shown["submitted"]["lab_s"] >= 0
    assert shown["submitted"]["at"].endswith("Z")
    assert Job.objects.get().steps.count() == shown["steps_total"] == 1


@pytest.mark.parametrize(
    "media_type",
    ["application/yaml", "application/yaml; charset=utf-8", "text/yaml", "application/x-yaml", "text/x-yaml"],
)
def test_submit_takes_yaml(ann: Person, media_type: str) -> None:
    text = "name: Nothing\nworkflow:\n  - task: virtual.noop\n"
    response = ann.client.generic("POST", URL, text, media_type)
    assert response.status_code == 202, response.content


def test_submit_takes_yaml_within_json(ann: Person) -> None:
    assert submit(ann, {"document": "name: N\nworkflow: [{task: virtual.noop}]"}).status_code == 202


def test_a_wrong_job_is_refused_with_its_paths_and_nothing_is_kept(ann: Person) -> None:
    response = submit(ann, {"name": "N", "workflow": [{"task": "virtual.nop"}], "colour": "red"})
    assert response.status_code == 422
    problem = response.json()
    assert problem["type"] == "urn:octolab:problem:job-refused"
    assert "/colour" in {error["path"] for error in problem["errors"]}
    assert not Job.objects.exists()


def test_the_same_key_makes_one_job(ann: Person) -> None:
    first, again = submit(ann, **{"Idempotency-Key": "k1"}), submit(ann, **{"Idempotency-Key": "k1"})
    assert first.json()["id"] == again.json()["id"]
    assert Job.objects.count() == 1
    other = submit(ann, {**NOOP, "name": "Other"}, **{"Idempotency-Key": "k1"})
    assert other.status_code == 409
    assert submit(person("ben"), **{"Idempotency-Key": "k1"}).json()["id"] != first.json()["id"]


@pytest.mark.parametrize("key", ["x" * 201, "with space", "é"])
def test_keys_that_are_none_are_refused(ann: Person, key: str) -> None:
    assert submit(ann, **{"Idempotency-Key": key}).status_code == 422
    assert not Job.objects.exists()


def test_preview_keeps_nothing(ann: Person) -> None:
    response = ann.client.post(f"{URL}/preview", NOOP, content_type="application/json")
    assert response.status_code == 200
    assert response.json()["steps"] == 1
    assert not Job.objects.exists()


def test_a_job_is_shown_with_the_parts_that_are_asked_for(ann: Person) -> None:
    url = submit(ann).headers["Location"]
    whole = ann.client.get(url).json()
    assert {"samples", "tasks", "steps"} <= set(whole)
    assert whole["steps"][0]["name"]
    assert whole["spec"]["workflow"][0]["task"] == "virtual.noop"
    assert "steps" not in ann.client.get(f"{url}?include=samples,tasks").json()
    assert not {"samples", "tasks", "steps"} & set(ann.client.get(f"{url}?include=none").json())
    refused = ann.client.get(f"{url}?include=secrets")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "?include"


def test_pages_show_every_job_once_while_others_are_added(ann: Person) -> None:
    submitted = {submit(ann).json()["id"] for _ in range(5)}
    seen: list[str] = []
    url: str | None = f"{URL}?limit=2&owner=me"
    while url is not None:
        answer = ann.client.get(url).json()
        seen += [job["id"] for job in answer["results"]]
        url = answer["next"]
        submit(ann)
    assert len(seen) == len(set(seen)) == 5
    assert set(seen) == submitted
    assert seen == sorted(seen, reverse=True)


def test_filters(ann: Person) -> None:
    assert ann.user is not None
    services.create_project(ann.user, "team")
    ben = person("ben")
    services.add_member(_team(), "ben")
    old = submit(ann, {**NOOP, "name": "Old one"}).json()["id"]
    Job.objects.filter(pk=old).update(state=JobState.COMPLETED, submitted_at=timezone.now().replace(year=2020))
    submit(ann, {**NOOP, "name": "Team's", "project": "team"})
    submit(ben, {**NOOP, "name": "Ben's", "project": "team"})

    def names(parameters: str) -> set[str]:
        return {job["name"] for job in ann.client.get(f"{URL}?{parameters}").json()["results"]}

    assert names("") == {"Old one", "Team's", "Ben's"}
    assert names("state=completed,failed") == {"Old one"}
    assert names("project=team") == {"Team's", "Ben's"}
    assert names("owner=me") == {"Old one", "Team's"}
    assert names("owner=ben") == {"Ben's"}
    assert names("since=2021-01-01T00:00:00Z") == {"Team's", "Ben's"}
    assert names("text=old") == {"Old one"}
    for wrong in ("state=weird", "limit=0", "limit=many", "cursor=1", "since=yesterday", "owner=%00", "stat=queued"):
        assert ann.client.get(f"{URL}?{wrong}").status_code == 422, wrong
    assert ann.client.get(f"{URL}?limit=1&limit=2").status_code == 422


def _team() -> Any:
    from users.models import Project

    return Project.objects.get(slug="team")


def test_change_and_cancel_are_asked_of_the_scheduler(ann: Person) -> None:
    url = submit(ann).headers["Location"]
    assert ann.client.patch(url, {"priority": 3}, content_type="application/json").status_code == 202
    assert ann.client.patch(url, {"priority": 11}, content_type="application/json").status_code == 422
    assert ann.client.patch(url, {"owner": "ben"}, content_type="application/json").status_code == 422
    assert ann.client.patch(url, {"deadline": "soon"}, content_type="application/json").status_code == 422
    assert (
        ann.client.post(f"{url}/cancel", {"reason": "wrong recipe"}, content_type="application/json").status_code == 202
    )
    assert list(Request.objects.order_by("id").values_list("verb", "payload")) == [
        ("change", {"priority": 3}),
        ("cancel", {"reason": "wrong recipe"}),
    ]
    Job.objects.update(state=JobState.COMPLETED)
    assert ann.client.generic("POST", f"{url}/cancel").status_code == 409
    assert ann.client.patch(url, {"priority": 1}, content_type="application/json").status_code == 409


def test_rerun_makes_a_new_job_that_is_linked(ann: Person) -> None:
    first = submit(ann)
    again = ann.client.post(first.headers["Location"] + "/rerun")
    assert again.status_code == 202, again.content
    assert again.json()["rerun_of"] == first.json()["id"]
    assert again.json()["id"] != first.json()["id"]


def test_metrics_and_logs(ann: Person) -> None:
    url = submit(ann).headers["Location"]
    job = Job.objects.get()
    Step.objects.update(
        state=StepState.COMPLETED, attempt=1, started_lab_s=10.0, ended_lab_s=14.0, devices={"virtual_1": "use"}
    )
    Job.objects.update(submitted_lab_s=2.0, started_lab_s=10.0, finished_lab_s=15.0)
    figures = ann.client.get(f"{url}/metrics").json()
    assert (figures["wait_s"], figures["run_s"], figures["flow_s"]) == (8.0, 5.0, 13.0)
    assert figures["device_s"] == {"virtual_1": 4.0}
    job.events.create(seq=1, at=timezone.now(), lab_s=1, kind="job", subject=str(job.pk), project=job.project)
    assert [event["seq"] for event in ann.client.get(f"{url}/logs").json()] == [1]


def test_a_token_for_a_project_submits_to_it(ann: Person) -> None:
    assert ann.user is not None
    services.create_project(ann.user, "team")
    token = another_token("team's", ann, scopes=EVERYTHING, project=_team())
    assert submit(token).json()["project"] == "team"
    assert submit(token, {**NOOP, "project": "ann"}).status_code == 422


def test_a_viewer_may_not_submit(ann: Person) -> None:
    assert ann.user is not None
    services.create_project(ann.user, "team")
    ben = person("ben")
    services.add_member(_team(), "ben", "viewer")
    refused = submit(ben, {**NOOP, "project": "team"})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "/project"


def test_the_schema_of_a_job_is_json_schema(ann: Person) -> None:
    import jsonschema

    schema = ann.client.get("/api/v1/schemas/job").json()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(NOOP, schema)


def test_modules_are_shown_with_their_tasks(ann: Person) -> None:
    shown = ann.client.get("/api/v1/modules/virtual").json()
    assert "noop" in {task["name"] for task in shown["tasks"]}
    assert ann.client.get("/api/v1/modules").json() == [shown]
    assert ann.client.get("/api/v1/modules/other").status_code == 404


def test_an_unknown_job_is_not_there(ann: Person) -> None:
    assert ann.client.get(f"{URL}/{new_id()}").status_code == 404
    assert ann.client.get(f"{URL}/{UUID(int=0)}").status_code == 404
    assert ann.client.get(f"{URL}/nonsense").status_code == 404


def test_json_bodies_are_read_strictly(ann: Person) -> None:
    for text in (
        '{"name": 1',
        '{"a": 1, "a": 2}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '"\\ud800"',
        '{"a": "\\u0000"}',
        "",
        "[]",
        "null",
        '"name: x"',
    ):
        response = ann.client.generic("POST", URL, text, "application/json")
        assert response.status_code in {400, 422}, text
        assert json.loads(response.content)["detail"]
    assert ann.client.generic("POST", URL, "<job/>", "text/xml").status_code == 415


def test_pages_walk_the_whole_list_once_while_jobs_arrive(ann: Person) -> None:
    there = [submit(ann, {**NOOP, "name": f"job {number}"}).json()["id"] for number in range(7)]
    found: list[str] = []
    address: str | None = f"{URL}?limit=2&text=job"
    while address is not None:
        shown = ann.client.get(address).json()
        found += [job["id"] for job in shown["results"]]
        address = shown["next"]
        submit(ann, {**NOOP, "name": "job that has just arrived"})
    assert found == there[::-1]


def test_what_nothing_uses_is_accepted_with_a_warning(ann: Person) -> None:
    samples = {"sweep": {"colour": ["red", "blue"], "t": ["1 s"]}}
    workflow = [
        {"task": "virtual.enter"},
        {"task": "virtual.occupy", "with": {"time": "$t"}},
        {"task": "virtual.leave"},
    ]
    job = {"name": "N", "samples": samples, "workflow": workflow}
    for answer in (submit(ann, job), ann.client.post(f"{URL}/preview", job, content_type="application/json")):
        [warning] = answer.json()["warnings"]
        assert warning["path"] == "/samples/sweep/colour"
        assert "Nothing uses `colour`" in warning["message"]
    assert submit(ann).json()["warnings"] == []
