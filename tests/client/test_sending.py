"""What the client sends, when it sends it again, and what it makes of refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from octolab.client import (
    ApiError,
    AsyncOctolab,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotAuthenticatedError,
    NotFoundError,
    Octolab,
    UnreachableError,
)

from .scripted import Answer, Script

JOB = {"id": "0190", "state": "queued"}
AWAY = Answer(503, {"title": "Service Unavailable", "status": 503, "detail": "A part of the server is away."})
SILENT = Answer(cut_after=0)


def test_a_job_goes_as_it_is_written(script: Script, lab: Octolab, tmp_path: Path) -> None:
    text = "name: Täst  # a comment\nsamples: 1\n"
    (tmp_path / "job.yaml").write_text(text, encoding="utf-8")
    script.say(*[Answer(202, JOB)] * 3)
    for source in (text, tmp_path / "job.yaml", {"name": "Täst", "samples": 1}):
        assert lab.submit(source) == JOB
    assert [seen.body for seen in script.seen[:2]] == [text.encode()] * 2
    assert {seen.headers["Content-Type"] for seen in script.seen[:2]} == {"application/yaml"}
    assert json.loads(script.seen[2].body) == {"name": "Täst", "samples": 1}
    assert script.seen[2].headers["Authorization"] == "Bearer octolab_secret"


def test_a_submit_is_repeated_under_one_key(script: Script, lab: Octolab) -> None:
    script.say(AWAY, SILENT, Answer(202, JOB))
    assert lab.submit({"name": "x"}) == JOB
    keys = [seen.headers["Idempotency-Key"] for seen in script.seen]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_an_answer_goes_with_its_values(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, [{"id": "s1"}]), Answer(202, {"id": "w1"}))
    assert lab.questions() == [{"id": "s1"}]
    assert lab.answer("s1", note="cloudy", mass="1.5 g", clear=False) == {"id": "w1"}
    assert json.loads(script.seen[1].body) == {
        "values": {"mass": "1.5 g", "clear": False}, "note": "cloudy", "cannot": False,
    }  # fmt: skip


def test_a_question_about_the_plan_goes_with_the_job_as_it_is_written(
    script: Script, lab: Octolab, tmp_path: Path
) -> None:
    (tmp_path / "job.yaml").write_text("name: x\n", encoding="utf-8")
    script.say(*[Answer(200, {"sentence": "later"})] * 2)
    lab.what_if(tmp_path / "job.yaml", lose=["arm"])
    lab.what_if({"name": "x"})
    sent = [json.loads(seen.body) for seen in script.seen]
    assert sent[0] == {"job": "name: x\n", "lose": ["arm"], "gain": [], "maintenance": []}
    assert sent[1]["job"] == {"name": "x"}


def test_two_submits_have_two_keys(script: Script, lab: Octolab) -> None:
    script.say(Answer(202, JOB), Answer(202, JOB))
    lab.submit({"name": "x"})
    lab.submit({"name": "x"})
    assert script.seen[0].headers["Idempotency-Key"] != script.seen[1].headers["Idempotency-Key"]


def test_what_may_not_be_done_twice_is_sent_once(script: Script, lab: Octolab) -> None:
    script.say(SILENT)
    with pytest.raises(UnreachableError, match="does not answer"):
        lab.decide("0190", "done", "the vial stands in slot 3")
    assert len(script.seen) == 1


def test_too_many_requests_are_repeated_when_the_server_says_so(script: Script, lab: Octolab) -> None:
    script.say(Answer(429, {"detail": "Too many requests."}, {"Retry-After": "0"}), Answer(202, {"id": "1"}))
    assert lab.decide("0190", "done", "seen") == {"id": "1"}


def test_it_gives_up_after_some_tries(script: Script, lab: Octolab) -> None:
    script.say(AWAY, AWAY, AWAY)
    with pytest.raises(ApiError, match="A part of the server is away") as raised:
        lab.devices()
    assert raised.value.status == 503
    assert len(script.seen) == 3


def test_a_server_that_is_not_there_is_named() -> None:
    with Octolab("http://127.0.0.1:9", "t", tries=1) as lab, pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        lab.devices()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidError),
        (401, NotAuthenticatedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (422, InvalidError),
        (500, ApiError),
    ],
)
def test_refusals_carry_the_servers_sentences(script: Script, lab: Octolab, status: int, kind: type[ApiError]) -> None:
    errors = [{"path": "workflow[3].with.volume", "message": "5 mL is more than the vial holds, 4.5 mL."}]
    script.say(Answer(status, {"type": "urn:octolab:problem:x", "detail": "It cannot be.", "errors": errors}))
    with pytest.raises(kind) as raised:
        lab.submit({"name": "x"})
    assert type(raised.value) is kind
    assert str(raised.value) == "It cannot be.\n  workflow[3].with.volume: 5 mL is more than the vial holds, 4.5 mL."
    assert raised.value.type == "urn:octolab:problem:x"


def test_an_answer_that_is_no_problem_document_is_an_error_too(script: Script, lab: Octolab) -> None:
    script.say(Answer(500, b"<html>proxy error</html>", {"Content-Type": "text/html"}))
    with pytest.raises(ApiError, match="The server answered 500"):
        lab.me()


def test_all_pages_are_read_and_no_other_host_gets_the_token(script: Script, lab: Octolab) -> None:
    script.say(
        Answer(200, {"results": [{"id": "3"}, {"id": "2"}], "next": "https://elsewhere.example/api/v1/jobs?cursor=2"}),
        Answer(200, {"results": [{"id": "1"}], "next": None}),
    )
    assert [job["id"] for job in lab.jobs()] == ["3", "2", "1"]
    assert script.seen[1].path == "/api/v1/jobs?cursor=2"


def test_waiting_tells_each_change_once(script: Script, lab: Octolab) -> None:
    states = ["queued", "queued", "running", "completed"]
    script.say(*(Answer(200, {"id": "1", "state": state}) for state in states))
    told: list[str] = []
    assert lab.wait("1", on_change=lambda job: told.append(job["state"]))["state"] == "completed"
    assert told == ["queued", "running", "completed"]


def test_waiting_ends_when_a_person_is_needed(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, {"id": "1", "state": "needs_operator"}))
    assert lab.wait("1")["state"] == "needs_operator"


def test_waiting_ends_in_time(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, {"id": "1", "state": "running"}))
    with pytest.raises(TimeoutError, match="job 1 is still running"):
        lab.wait("1", timeout_s=-1)


def test_events_go_on_where_they_ended(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, {"results": [{"seq": 4}, {"seq": 7}], "last": 9}), Answer(200, {"results": [], "last": 9}))
    assert [event["seq"] for event in lab.events(3)] == [4, 7]
    assert [seen.path for seen in script.seen] == ["/api/v1/events?since=3", "/api/v1/events?since=9"]


def test_a_login_uses_its_token_from_then_on(script: Script) -> None:
    script.say(Answer(201, {"token": "octolab_new"}), Answer(200, {"username": "ada"}))
    with Octolab(script.url) as lab:
        assert lab.login("ada", "correct horse") == "octolab_new"
        lab.me()
    assert "Authorization" not in script.seen[0].headers
    assert script.seen[1].headers["Authorization"] == "Bearer octolab_new"


@pytest.mark.asyncio
async def test_the_same_verbs_can_be_awaited(script: Script) -> None:
    script.say(Answer(202, JOB), Answer(200, {"id": "1", "state": "completed"}), Answer(200, [{"id": "arm"}]))
    async with AsyncOctolab(script.url, "t") as lab:
        assert await lab.submit({"name": "x"}) == JOB
        assert (await lab.wait("1"))["state"] == "completed"
        assert await lab.devices() == [{"id": "arm"}]


@pytest.mark.asyncio
async def test_events_can_be_awaited(script: Script) -> None:
    script.say(Answer(200, {"results": [{"seq": 1}], "last": 1}), Answer(200, {"results": [], "last": 1}))
    async with AsyncOctolab(script.url, "t") as lab:
        assert [event["seq"] async for event in lab.events()] == [1]
