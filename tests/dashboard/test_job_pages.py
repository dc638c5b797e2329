"""The pages of jobs: found, controlled, submitted, compared, taken home, done again."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

from django.conf import settings as dj_settings
from django.urls import reverse

from analysis import results
from octolab.dashboard.thelab import the_lab
from scheduler.models import Job, Manifest, Module, Step, Task
from tests.analysis import measured
from tests.cast import World, make_job

from .conftest import Browser


def test_the_list_of_jobs_holds_only_visible_ones_and_filters(world: World, signed_in: Browser) -> None:
    owner = world.owner.user
    assert owner is not None
    make_job(owner, owner.personal_project, name="private thing")
    assert "private thing" in signed_in("owner").get("/jobs").content.decode()
    assert "private thing" not in signed_in("member").get("/jobs").content.decode()
    assert "secret recipe" not in signed_in("owner").get("/jobs?q=private").content.decode()
    assert "secret recipe" not in signed_in("owner").get("/jobs?state=completed").content.decode()
    assert "secret recipe" not in signed_in("member").get("/jobs?owner=me").content.decode()
    assert signed_in("owner").get("/jobs?before=nonsense&state=x").status_code == 200


def test_long_lists_come_in_pages(world: World, signed_in: Browser) -> None:
    owner = world.owner.user
    assert owner is not None
    for number in range(55):
        Job.objects.create(
            project=world.project, owner=owner, name=f"job {number:02d}", spec={}, simulated=True,
            submitted_at=world.job.submitted_at, submitted_lab_s=0.0,
        )  # fmt: skip
    first = signed_in("owner").get("/jobs").content.decode()
    assert "job 54" in first
    assert "job 03" not in first
    older = re.search(r'href="\?([^"]+)">Older', first)
    assert older is not None
    second = signed_in("owner").get("/jobs?" + older[1].replace("&amp;", "&")).content.decode()
    assert "job 03" in second
    assert "job 54" not in second


def test_jobs_are_found_by_id_owner_campaign_and_by_what_they_need(world: World, signed_in: Browser) -> None:
    owner = world.owner.user
    assert owner is not None
    other, *_ = make_job(owner, owner.personal_project, name="private thing")
    Job.objects.filter(pk=other.pk).update(state="completed", campaign="silver-42")
    client = signed_in("owner")

    def listed(query: str) -> tuple[bool, bool]:
        page = client.get(f"/jobs?{query}").content.decode()
        return "secret recipe" in page, "private thing" in page

    assert listed(f"q={world.job.id}") == (True, False)
    assert listed("q=silver-42") == (False, True)
    assert listed("q=owner") == (True, True)
    assert listed("state=open") == (True, False)
    assert listed("state=completed") == (False, True)
    assert listed("project=team") == (True, False)
    assert listed("project=%00&q=%00") == (True, True)
    assert "secret recipe" not in signed_in("outsider").get(f"/jobs?q={world.job.id}").content.decode()


def test_only_members_who_may_change_a_job_can_cancel_it(world: World, signed_in: Browser) -> None:
    control = reverse("job-control", args=[world.job.id])
    for name in ("viewer", "outsider", "operator", "member"):
        assert signed_in(name).post(control, {"verb": "cancel"}).status_code in (403, 404), name
        assert world.job.requests.count() == 0, name
    assert signed_in("owner").get(control).status_code == 405
    assert signed_in("owner").post(control, {"verb": "cancel", "reason": "no more"}).status_code == 302
    assert [(r.verb, r.payload) for r in world.job.requests.all()] == [("cancel", {"reason": "no more"})]


def test_only_the_verbs_that_are_legal_are_shown(world: World, signed_in: Browser) -> None:
    def shown(name: str) -> list[str]:
        page = signed_in(name).get(reverse("job", args=[world.job.id])).content.decode()
        return re.findall(r'name="verb" value="(\w+)"', page)

    assert shown("owner") == ["hold", "cancel"]
    assert shown("viewer") == []
    for state, verbs in (
        ("running", ["hold", "pause", "cancel", "stop", "abort"]),
        ("paused", ["resume", "cancel", "stop", "abort"]),
        ("held", ["release", "cancel", "stop", "abort"]),
        ("cancelling", []),
        ("completed", []),
    ):
        Job.objects.filter(id=world.job.id).update(state=state)
        assert shown("lead") == verbs, state
    refused = signed_in("owner").post(reverse("job-control", args=[world.job.id]), {"verb": "pause"}, follow=True)
    assert "nothing but rerun" in refused.content.decode()


def test_a_document_with_mistakes_is_answered_with_their_places_and_kept_in_the_editor(
    world: World, signed_in: Browser
) -> None:
    before = Job.objects.count()
    answer = signed_in("owner").post("/jobs/new", {"action": "check", "document": "name: x\nworkflow: 3\n"})
    shown = answer.content.decode()
    assert answer.status_code == 200
    assert "workflow" in shown
    assert "workflow: 3" in shown
    assert Job.objects.count() == before


def test_everything_of_a_job_comes_as_one_archive_to_those_who_may_see_it(world: World, signed_in: Browser) -> None:
    owner = world.owner.user
    assert owner is not None
    job = measured.make_job(owner)
    store = results.store()
    for sample in job.samples.all():
        measured.measure(store, Path(dj_settings.DATA_ROOT), sample)
    address = reverse("job-everything", args=[job.pk])
    assert signed_in("outsider").get(address).status_code == 404
    sent = b"".join(signed_in("owner").get(address).streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert {"job.yaml", "results.csv", "log.csv", "README.txt"} <= set(names)
        files = [name for name in names if name.startswith("files/")]
        assert len(files) == 2
        assert archive.read(files[0]).startswith(b"\x89HDF")
        assert b"SIMULATED" in archive.read("README.txt")
        assert b"A2" in archive.read("results.csv")
    for file in Path(dj_settings.DATA_ROOT).rglob(f"{job.pk}/*.nxs"):
        file.unlink()
    sent = b"".join(signed_in("owner").get(address).streaming_content)  # type: ignore[attr-defined]
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        assert archive.read("README.txt").count(b"MISSING") == 2


def test_results_are_compared_as_far_as_they_may_be_seen(world: World, signed_in: Browser) -> None:
    owner, outsider = world.owner.user, world.people["outsider"].user
    assert owner is not None
    assert outsider is not None
    store = results.store()
    jobs = [
        measured.make_job(user, name=name) for user, name in ((owner, "one"), (owner, "two"), (outsider, "zq unseen"))
    ]
    for job in jobs:
        for sample in job.samples.all():
            measured.measure(store, Path(dj_settings.DATA_ROOT), sample)
    page = signed_in("owner").get("/jobs/compare?" + "&".join(f"job={job.pk}" for job in jobs) + "&job=nonsense")
    shown = page.content.decode()
    assert "zq unseen" not in shown
    assert shown.count('class="curve"') == 4
    assert "1. one: A1" in shown
    assert "2. two: A2" in shown
    assert signed_in("owner").get("/jobs/compare").status_code == 200


def test_a_job_is_done_again_by_those_who_may_submit_and_once_for_two_clicks(world: World, signed_in: Browser) -> None:
    from modules.virtual import manifest

    published = manifest({})
    row = Manifest.objects.create(hash=published.hash(), document=published.model_dump(mode="json"))
    for name in the_lab().modules:
        Module.objects.create(pk=name, manifest=row)
    name = next(iter(the_lab().modules))
    document = {"name": "again and again", "workflow": [{"task": f"{name}.{published.tasks[0].name}"}]}
    Job.objects.filter(pk=world.job.pk).update(spec=document)
    address = reverse("job-again", args=[world.job.pk])
    assert signed_in("outsider").post(address, {"key": "k"}).status_code == 404
    assert signed_in("viewer").post(address, {"key": "k"}).status_code in (302, 403)
    assert not Job.objects.filter(rerun_of=world.job).exists()
    first, second = (signed_in("owner").post(address, {"key": "one click too many"}) for _ in range(2))
    (new,) = Job.objects.filter(rerun_of=world.job)
    assert first.headers["Location"] == second.headers["Location"] == reverse("job", args=[new.pk])


def test_what_a_task_has_found_stands_in_the_history_with_its_unit(world: World, signed_in: Browser) -> None:
    from modules.batch_synthesis import manifest

    published = manifest({})
    row = Manifest.objects.create(hash=published.hash(), document=published.model_dump(mode="json"))
    Module.objects.create(pk="batch_synthesis", manifest=row)
    pumps = dict.fromkeys(the_lab().device_ids("batch_synthesis", "pumps"), "use")
    Step.objects.filter(pk=world.step.pk).update(
        module="batch_synthesis", task_name="add", name="add", state="completed",
        adds={"solution": "Citrate", "volume_ul": 1200.0}, devices={"linear_actuator": "use", **pumps},
    )  # fmt: skip
    Task.objects.filter(job=world.job).update(results={"delivered": 1199.5})
    page = signed_in("owner").get(reverse("sample", args=[world.sample.pk])).content.decode()
    assert "Add a solution: 1200 µL of Citrate" in page
    assert "delivered 1200 µL" in page, "four digits of 1199.5"
    assert "Linear actuator, pumps" in page
    assert "silver nitrate" not in page
