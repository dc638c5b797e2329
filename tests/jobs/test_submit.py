"""Submitting jobs: what is kept, what is reserved, what is refused, and for whom."""

# ruff: noqa: E501 - sentences are quoted whole

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from modules.contract.messages import SCHEDULER_BELL
from scheduler import catalogue as catalogues
from scheduler import doorbell
from scheduler.jobformat import JobRefused
from scheduler.models import Job, Module, Place, Request, Sample, Step, StepMember, Stock, Task
from scheduler.services import previews
from scheduler.services.jobs import (
    IdempotencyConflict,
    LabNotReady,
    NotChangeable,
    change_job,
    check_job,
    submit_job,
)
from scheduler.services.placement import question_of
from tests.jobs import lab
from tests.jobs.lab import messages
from users.models import Project, ProjectRole, User
from users.services import add_member, create_project

NOOP = {"name": "noop", "workflow": [{"task": "virtual.noop"}]}
MADE = {"name": "vial", "workflow": [{"task": "batch_synthesis.prepare"}]}
EVERYTHING = (Job, Sample, Task, Step, StepMember)


def refused(user: User, document: Any, **more: Any) -> dict[str, str]:
    before = [model.objects.count() for model in EVERYTHING]
    reserved = list(Stock.objects.order_by("id").values_list("reserved", flat=True))
    with pytest.raises(JobRefused) as error:
        submit_job(user=user, document=document, **more)
    assert [model.objects.count() for model in EVERYTHING] == before
    assert list(Stock.objects.order_by("id").values_list("reserved", flat=True)) == reserved
    return messages(error.value.problems)


@pytest.fixture
def virtual(open_lab: Callable[[str], None]) -> None:
    open_lab("virtual")


# --- what is kept


def test_the_demo_job_is_kept_whole(silver: None, ada: User) -> None:
    job, created = submit_job(user=ada, document=lab.example("silver-nanoparticles"))
    assert created
    job = Job.objects.get(pk=job.pk)
    assert (job.owner, job.project, job.state, job.placed, job.simulated) == (
        ada, ada.personal_project, "queued", False, True,
    )  # fmt: skip
    assert (job.samples_total, job.steps_total, job.steps.count()) == (6, 89, 119)
    assert job.manifests == {key: lab.catalogue("silver").hashes[key] for key in ("batch_synthesis", "uv_vis")}
    assert submit_job(user=ada, document=job.spec)[0].spec == job.spec
    dwell = job.steps.filter(task_name="react", name="dwell").first()
    assert dwell is not None
    assert (dwell.action, dwell.state, dwell.duration_s, dwell.attempt) == (None, "waiting", 7200.0, 0)
    assert dwell.members.get().sample == dwell.members.get().task.samples.get()
    assert list(job.samples.values_list("state", "contents")) == [("planned", [])] * 6


def test_stocks_are_reserved(silver: None, ada: User) -> None:
    submit_job(user=ada, document=lab.example("silver-nanoparticles"))
    submit_job(user=ada, document=MADE)
    reserved = dict(Stock.objects.values_list("id", "reserved"))
    assert reserved == pytest.approx({"vials": 7, "tips": 6, "citrate": 7.2, "h2o2": 7.2, "nabh4": 18.0, "agno3": 3.9})
    assert Stock.objects.get(id="vials").level == 60


def test_the_scheduler_is_rung_after_the_commit(
    virtual: None, ada: User, redis_url: str, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "_silent_until_s", 0.0)
    with redis.Redis.from_url(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as bell:
        bell.subscribe(SCHEDULER_BELL)
        bell.get_message(timeout=1)
        with django_capture_on_commit_callbacks(execute=True):
            submit_job(user=ada, document=NOOP)
            assert bell.get_message(timeout=0) is None
        deadline = time.monotonic() + 5
        while (heard := bell.get_message(timeout=0.1)) is None and time.monotonic() < deadline:
            pass
        assert heard is not None


def test_nothing_is_lost_without_redis(
    virtual: None, ada: User, settings: Any, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "_silent_until_s", 0.0)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with django_capture_on_commit_callbacks(execute=True):
        submit_job(user=ada, document=NOOP)
    assert Job.objects.count() == 1


def test_a_check_keeps_nothing(silver: None, ada: User) -> None:
    checked = check_job(user=ada, document=lab.example("silver-nanoparticles"))
    assert checked.expansion.steps_total == 89
    assert checked.consumption["tips"] == 6
    assert [model.objects.count() for model in EVERYTHING] == [0] * 5
    assert not any(Stock.objects.values_list("reserved", flat=True))


def test_a_question_is_about_the_very_job_that_a_submit_makes(virtual: None, ada: User) -> None:
    """Whose it is decides where it stands: else a preview names other times than the submit."""
    team = create_project(ada, "team")
    document = {
        **NOOP, "project": "team", "priority": 2, "deadline": "2099-01-01T12:00Z", "campaign": "c", "expects": 3,
        "workflow": [{"task": "virtual.occupy", "with": {"time": "5 min", "devices": ["virtual_1"]}}],
    }  # fmt: skip
    asked = previews.question(check_job(user=ada, document=document))
    job, _ = submit_job(user=ada, document=document)
    made = question_of(job, list(job.steps.order_by("index")), list(StepMember.objects.filter(step__job=job)))
    by_itself = ("id", "submitted")
    assert {k: v for k, v in asked["job"].items() if k not in by_itself} == {
        k: v for k, v in made["job"].items() if k not in by_itself
    }
    assert asked["job"]["owner"] == str(ada.pk)
    assert (asked["job"]["project"], asked["job"]["priority"], asked["job"]["expects"]) == (str(team.pk), 2, 3)
    one, other = (
        [{k: v for k, v in step.items() if k not in ("id", "block", "needs")} for step in said["steps"]]
        for said in (asked, made)
    )
    assert one == other


def test_few_statements(virtual: None, ada: User, django_assert_max_num_queries: Any) -> None:
    submit_job(user=ada, document=NOOP)
    # Three of them are the audit log's and three the quotas'.
    with django_assert_max_num_queries(15):
        submit_job(user=ada, document=NOOP)


# --- stocks and places


def test_a_stock_that_is_too_low(silver: None, ada: User) -> None:
    Stock.objects.filter(id="agno3").update(level=10.0, reserved=7.0)
    assert refused(ada, lab.example("silver-nanoparticles")) == {
        "/workflow": "The job needs 3.9 mL of `agno3`, but only 3 mL are left that no other job has reserved. Have it "
        "refilled, or use less."
    }


def test_the_last_of_a_stock_is_reserved_once(silver: None, ada: User) -> None:
    Stock.objects.filter(id="vials").update(level=1)
    submit_job(user=ada, document=MADE)
    assert "0 are left" in refused(ada, MADE)["/workflow"]


def test_a_stock_that_runs_low_between_check_and_reservation(
    silver: None, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scheduler.services import jobs

    whole = jobs._insert

    def meanwhile(*arguments: Any, **options: Any) -> Job:
        Stock.objects.filter(id="vials").update(reserved=60)
        return whole(*arguments, **options)

    monkeypatch.setattr(jobs, "_insert", meanwhile)
    with pytest.raises(JobRefused) as error:
        submit_job(user=ada, document=MADE)
    assert "only 0 are left" in messages(error.value.problems)["/workflow"]
    assert [model.objects.count() for model in EVERYTHING] == [0] * 5


def test_a_storage_that_is_too_full(silver: None, ada: User) -> None:
    job, _ = submit_job(user=ada, document=MADE)
    Place.objects.filter(resource="vial_storage", index__gte=2).update(sample=job.samples.get())
    assert refused(ada, {**MADE, "samples": 3}) == {
        "/samples": "The job needs 3 places of `vial_storage`, but only 2 are free. Take stored samples away "
        "and tell it (`octolab storage` lists them, `octolab collect SAMPLE` frees a place), or make fewer samples."
    }


def test_a_loaded_sample_gets_its_place_at_once(silver: None, ada: User) -> None:
    job, _ = submit_job(user=ada, document=lab.example("uv-only"))
    first = job.samples.get(index=0)
    assert first.source == {"kind": "loaded", "position": "vial_storage.6.9", "place": "vial_storage", "index": 58}
    place = Place.objects.get(sample=first)
    assert (place.resource, place.index) == ("vial_storage", 58)
    assert place.since_lab_s is not None
    assert refused(ada, lab.example("uv-only")) == {
        f"/samples/{index}/from": f"The place `vial_storage.6.{index + 9}` is taken. Choose a free one, or have its "
        "sample collected."
        for index in (0, 1)
    }


def test_two_jobs_for_one_place_are_decided_by_the_database(
    silver: None, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scheduler.services import jobs

    monkeypatch.setattr(jobs, "check_places", lambda *_: None)
    submit_job(user=ada, document=lab.example("uv-only"))
    assert set(refused(ada, lab.example("uv-only"))) == {"/samples/0/from", "/samples/1/from"}


def stored_sample(user: User, **more: Any) -> Sample:
    job, _ = submit_job(user=user, document=MADE, **more)
    sample = job.samples.get()
    contents = [{"solution": "Citrate", "volume_ul": 9000.0, "stock": "citrate"}]
    Sample.objects.filter(pk=sample.pk).update(state="completed", contents=contents)
    place = Place.objects.filter(resource="vial_storage", sample__isnull=True).order_by("index").first()
    assert place is not None
    Place.objects.filter(pk=place.pk).update(sample=sample)
    return sample


def fetch(sample: Any) -> dict[str, Any]:
    return {"name": "again", "samples": [{"from": {"sample": str(sample)}}], "workflow": [{"task": "uv_vis.fetch"}]}


def test_an_earlier_sample_goes_over_to_the_new_job(silver: None, ada: User) -> None:
    old = stored_sample(ada)
    job, _ = submit_job(user=ada, document=fetch(old.pk))
    new = job.samples.get()
    assert Place.objects.get(sample=new).index == new.source["index"]
    assert not old.places.exists()
    assert new.contents == Sample.objects.get(pk=old.pk).contents
    assert refused(ada, fetch(old.pk)) == {
        "/samples/0/from/sample": "This sample is not in the storage any more: it was collected, or another job has it."
    }


def test_what_is_in_an_earlier_sample_counts(silver: None, ada: User) -> None:
    from modules.batch_synthesis import manifest
    from modules.contract.manifest import Manifest

    # a lab in which a stored vial can go back to the stirrer
    known = lab.catalogue("silver").manifests["batch_synthesis"]
    back = known.task("park").model_copy(update={"name": "back", "sample_from": "storage"})
    step = back.steps[0].model_copy(update={"takes": ("vial_slot",), "frees": (), "keeps": ()})
    changed = Manifest.model_validate(
        known.model_copy(update={"tasks": (*known.tasks, back.model_copy(update={"steps": (step,)}))}).model_dump()
    )
    assert changed.hash() != manifest({}).hash()
    from scheduler.models import Manifest as Stored

    Stored.objects.create(hash=changed.hash(), document=changed.model_dump(mode="json"))
    Module.objects.filter(id="batch_synthesis").update(manifest_id=changed.hash())
    catalogues.forget()
    old = stored_sample(ada)
    document = fetch(old.pk)
    document["workflow"] = [
        {"task": "batch_synthesis.back"},
        {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "1.1 mL"}},
    ]
    assert "would hold 10100 µL" in refused(ada, document)["/workflow/1"]
    document["workflow"][1]["with"]["volume"] = "1 mL"
    assert submit_job(user=ada, document=document)[1]


def test_samples_of_others_and_samples_under_way(silver: None, ada: User, grace: User) -> None:
    theirs = stored_sample(grace)
    unknown = "There is no such sample among yours. Take the id from the page of the job that made it."
    assert refused(ada, fetch(theirs.pk)) == {"/samples/0/from/sample": unknown}
    assert refused(ada, fetch("019a0000-0000-7000-8000-000000000001")) == {"/samples/0/from/sample": unknown}
    mine, _ = submit_job(user=ada, document=MADE)
    made = mine.samples.get()
    waits, _ = submit_job(user=ada, document=fetch(made.pk))
    source = {"kind": "sample", "sample": str(made.pk), "place": "vial_storage", "awaited": True}
    assert waits.samples.get().source == source, "what is not made yet is waited for"


# --- projects and people


def test_projects_and_roles(virtual: None, ada: User, grace: User) -> None:
    shared = create_project(grace, "nano")
    unknown = "There is no project `nano` among yours. The project can be `ada`."
    assert refused(ada, NOOP, project="nano") == {"/project": unknown}
    assert refused(ada, {**NOOP, "project": "nano"}) == {"/project": unknown}
    add_member(shared, "ada", ProjectRole.VIEWER)
    assert refused(ada, NOOP, project=shared) == {
        "/project": "You may look at the project `nano`, but only its members may submit jobs to it."
    }
    add_member(shared, "ada", ProjectRole.MEMBER)
    assert submit_job(user=ada, document={**NOOP, "project": "nano"})[0].project == shared
    assert submit_job(user=ada, document=NOOP)[0].project == ada.personal_project


def test_a_token_of_one_project_submits_to_that_project(virtual: None, ada: User) -> None:
    shared = create_project(ada, "nano")
    ada.only_project_id = shared.pk
    assert submit_job(user=ada, document=NOOP)[0].project == shared
    assert "no project `ada`" in refused(ada, NOOP, project="ada")["/project"]


def test_who_is_locked_out_submits_nothing(virtual: None, ada: User) -> None:
    ada.is_active = False
    ada.save()
    assert set(refused(ada, NOOP)) == {"/project"}


def test_recipients_are_members(virtual: None, ada: User, grace: User) -> None:
    shared = create_project(ada, "nano")
    document = {**NOOP, "recipients": ["ada", "grce"]}
    assert refused(ada, document, project=shared) == {
        "/recipients/1": "`grce` is no member of the project. A recipient can be `ada`."
    }
    add_member(shared, "grace")
    job, _ = submit_job(user=ada, document={**document, "recipients": ["grace"]}, project=shared)
    assert job.spec["recipients"] == ["grace"]


@pytest.mark.parametrize(
    ("deadline", "sentence"),
    [
        ("2020-01-01T00:00", "This deadline has passed already: name a later one, or leave it out."),
        ("2099-01-01", "Write a date and a time like 2026-12-01T09:00, if need be with a zone: 2026-12-01T08:00Z."),
        ("soon", "Write a date and a time like 2026-12-01T09:00, if need be with a zone: 2026-12-01T08:00Z."),
        ("9999-12-31T23:59-12:00", "This date is out of reach."),
    ],
)
def test_deadlines_that_cannot_be(virtual: None, ada: User, deadline: str, sentence: str) -> None:
    assert refused(ada, {**NOOP, "deadline": deadline}) == {"/deadline": sentence}


def test_a_deadline_is_in_the_labs_zone_unless_it_names_one(silver: None, ada: User) -> None:
    document = {**MADE, "deadline": "2099-01-01T09:00"}
    assert submit_job(user=ada, document=document)[0].deadline_at == datetime(2099, 1, 1, 0, 0, tzinfo=UTC)
    document["deadline"] = "2099-01-01T09:00+01:00"
    assert submit_job(user=ada, document=document)[0].deadline_at == datetime(2099, 1, 1, 8, 0, tzinfo=UTC)


def test_everything_that_is_wrong_is_told_at_once(virtual: None, ada: User) -> None:
    document = {
        "name": "x",
        "project": "nano",
        "deadline": "soon",
        "workflow": [{"task": "virtual.nop"}, {"task": "virtual.wait", "with": {"time": "5 kg"}}],
    }
    assert set(refused(ada, document)) == {"/project", "/deadline", "/workflow/0/task", "/workflow/1/with/time"}


# --- idempotency


def test_what_is_misspelt_hides_nothing_else(silver: None, ada: User) -> None:
    wrong = {
        "workflo": 3,
        "priority": 99,
        "workflow": [
            {"task": "batch_synthesis.prepare", "widh": {}},
            {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "3 nm"}},
            {"task": "uv_viz.measure"},
        ],
    }
    found = refused(ada, wrong)
    assert set(found) == {
        "",
        "/workflo",
        "/priority",
        "/workflow/0/widh",
        "/workflow/1/with/volume",
        "/workflow/2/task",
    }
    assert "`name` is missing" in found[""]


def test_the_same_key_gives_the_same_job(virtual: None, ada: User, grace: User) -> None:
    first, created = submit_job(user=ada, document=NOOP, idempotency_key="k")
    again, created_again = submit_job(
        user=ada, document="workflow: [{task: virtual.noop}]\nname: noop", idempotency_key="k"
    )
    assert (created, created_again, again.pk) == (True, False, first.pk)
    theirs, _ = submit_job(user=grace, document=NOOP, idempotency_key="k")
    assert theirs.pk != first.pk
    assert Job.objects.count() == 2


def test_the_same_key_for_another_job_is_a_conflict(virtual: None, ada: User) -> None:
    submit_job(user=ada, document=NOOP, idempotency_key="k")
    with pytest.raises(IdempotencyConflict, match="Use a new key for each job"):
        submit_job(user=ada, document={**NOOP, "name": "other"}, idempotency_key="k")
    with pytest.raises(JobRefused, match="1 to 200 characters"):
        submit_job(user=ada, document=NOOP, idempotency_key="")


def test_a_refused_job_does_not_use_up_its_key(virtual: None, ada: User) -> None:
    assert refused(ada, {**NOOP, "workflow": [{"task": "virtual.nop"}]}, idempotency_key="k")
    assert submit_job(user=ada, document=NOOP, idempotency_key="k")[1]


def race(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    environment = {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "OCTOLAB_DATA_ROOT": str(tmp_path),
        "OCTOLAB_LAB": str(lab.LABS / "silver.toml"),
        "OCTOLAB_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    command = [sys.executable, "-m", "tests.jobs.race", *arguments]
    done = subprocess.run(command, cwd=lab.ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_many_at_once_with_one_key_make_one_job(tmp_path: Path) -> None:
    came = race(tmp_path, "k")
    assert (came["jobs"], came["reserved"]) == (1, 1)
    assert len({job for job, _ in came["outcomes"]}) == 1
    assert sorted(created for _, created in came["outcomes"]) == [False, False, False, True]


def test_many_at_once_reserve_no_more_than_there_is(tmp_path: Path) -> None:
    came = race(tmp_path)
    assert (came["jobs"], came["reserved"]) == (3, 3)
    refusals = [text for name, text in came["outcomes"] if name == "JobRefused"]
    assert refusals == [
        "workflow: The job needs 1 of `vials`, but only 0 are left that no other job has reserved. Have it refilled, or "
        "use less."
    ]


# --- the lab


def test_a_changed_manifest_is_noticed(virtual: None, ada: User, monkeypatch: pytest.MonkeyPatch) -> None:
    submit_job(user=ada, document=NOOP)
    Module.objects.update(manifest=None)
    monkeypatch.setattr(catalogues, "_asked_s", float("-inf"))
    with pytest.raises(LabNotReady, match="has not told yet what it offers"):
        submit_job(user=ada, document=NOOP)


def test_a_lab_file_that_cannot_be_read(virtual: None, ada: User, settings: Any, tmp_path: Any) -> None:
    settings.LAB_FILE = tmp_path / "none.toml"
    with pytest.raises(LabNotReady, match="cannot be read"):
        submit_job(user=ada, document=NOOP)


def test_without_the_labs_clock_nothing_is_kept(
    virtual: None, ada: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from octolab import labtime

    monkeypatch.setattr(labtime, "_clock", None)
    monkeypatch.setattr(labtime, "_tried_s", float("inf"))
    with pytest.raises(LabNotReady, match="Try again soon"):
        submit_job(user=ada, document=NOOP)
    assert not Job.objects.exists()


# --- changing


def test_a_queued_job_can_be_changed_by_request(virtual: None, ada: User) -> None:
    job, _ = submit_job(user=ada, document=NOOP)
    request = change_job(user=ada, job=job, name=" better ", priority=3, deadline="2099-01-01T00:00Z")
    assert Request.objects.get() == request
    assert (request.verb, request.actor, request.job) == ("change", ada, job)
    assert request.payload == {"name": "better", "priority": 3, "deadline": "2099-01-01T00:00:00+00:00"}
    assert change_job(user=ada, job=job, clear_deadline=True).payload == {"deadline": None}


def test_changes_that_cannot_be(virtual: None, ada: User, grace: User) -> None:
    job, _ = submit_job(user=ada, document=NOOP)
    with pytest.raises(JobRefused) as error:
        change_job(user=ada, job=job, name="", priority=11, deadline="soon")
    assert set(messages(error.value.problems)) == {"/name", "/priority", "/deadline"}
    with pytest.raises(NotChangeable, match="Only the job's owner"):
        change_job(user=grace, job=job, name="mine")
    job.state = "running"
    with pytest.raises(NotChangeable, match="The job is running"):
        change_job(user=ada, job=job, name="late")
    assert not Request.objects.exists()


def test_projects_are_not_made_by_the_way(virtual: None, ada: User) -> None:
    before = Project.objects.count()
    refused(ada, NOOP, project="new")
    assert Project.objects.count() == before


def test_what_ends_a_setting_is_done_by_itself_or_by_hand(silver: None, ada: User) -> None:
    stop = {"name": "stop", "workflow": [{"task": "batch_synthesis.stop_stirring"}]}
    said = refused(ada, stop)
    assert said == {"/workflow/0/task": "`batch_synthesis.stop_stirring` is done by itself; leave it out."}
    job, _ = submit_job(user=ada, document=stop, manual=True)
    assert job.steps.get().action == "stop_stirring"
