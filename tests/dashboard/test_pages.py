"""Pages show each person what is theirs, and are safe to show."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as dj_settings
from django.urls import reverse
from django.utils import timezone

from analysis import results
from notifications.models import Notification
from octolab.dashboard.thelab import lab_clock, the_lab
from scheduler.models import Device, Interlock, Job, Leader, Manifest, Module, Request, Step, Task
from tests.analysis import measured
from tests.cast import World, make_job
from users.models import Token

from .conftest import Browser

PARTS = ("status", "why", "timeline", "results", "log")
OPERATOR_PAGES = ("operator",)


def test_a_job_page_is_for_those_who_may_see_the_job(world: World, signed_in: Browser) -> None:
    page = reverse("job", args=[world.job.id])
    for name in ("owner", "member", "viewer", "lead"):
        answer = signed_in(name).get(page)
        assert answer.status_code == 200, name
        assert world.job.name in answer.content.decode()
    for name in ("outsider", "removed", "operator", "admin"):
        assert signed_in(name).get(page).status_code == 404, name
        for part in PARTS:
            assert signed_in(name).get(reverse("job-part", args=[world.job.id, part])).status_code == 404, name


def test_who_is_not_signed_in_or_not_active_is_sent_to_sign_in(world: World, signed_in: Browser) -> None:
    for name in ("anonymous", "deactivated"):
        for page in ("/", "/jobs", "/jobs/new", "/operator", "/account", f"/jobs/{world.job.id}"):
            answer = signed_in(name).get(page)
            assert answer.status_code == 302, (name, page)
            assert answer.headers["Location"].startswith("/login?next=")


def test_the_plan_shows_other_peoples_work_as_busy_without_names(world: World, signed_in: Browser) -> None:
    Step.objects.filter(id=world.step.id).update(
        planned_start_lab_s=1e9, planned_end_lab_s=1e9 + 60, started_lab_s=None
    )
    seen = signed_in("member").get("/lab/plan").content.decode()
    assert "secret recipe" in seen
    for name in ("outsider", "operator", "admin"):
        hidden = signed_in(name).get("/lab/plan").content.decode()
        assert "busy" in hidden, name
        assert "secret recipe" not in hidden, name
        assert str(world.job.id) not in hidden, name


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


def test_the_operators_desk_does_not_exist_for_others(world: World, signed_in: Browser) -> None:
    desk = signed_in("operator").get("/operator")
    assert desk.status_code == 200
    shown = desk.content.decode()
    assert "Measure" in shown
    assert "secret recipe" not in shown, "an operator decides about steps, not by that fact sees projects"
    decide = reverse("operator-decide", args=[world.step.id])
    for name in ("owner", "lead", "admin", "outsider"):
        assert signed_in(name).get("/operator").status_code == 404, name
        assert signed_in(name).post(decide, {"decision": "done", "note": "x"}).status_code == 404, name
        assert signed_in(name).post(reverse("operator-refill", args=["vials"]), {"amount": 1}).status_code == 404, name


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


def test_pages_hold_no_inline_script_or_style(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    for page in ("/", "/jobs", "/jobs/new", "/account", f"/jobs/{world.job.id}", "/login"):
        text = client.get(page, follow=True).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), page
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), page


def test_names_are_text_everywhere(world: World, signed_in: Browser) -> None:
    evil = '"><script>alert(1)</script>'
    world.job.name = evil
    world.job.save()
    world.sample.name = evil
    world.sample.save()
    client = signed_in("owner")
    for page in ("/", "/jobs", f"/jobs/{world.job.id}"):
        assert "<script>alert" not in client.get(page).content.decode(), page


@pytest.mark.parametrize("wrong", [{"scopes": ["root"]}, {"scopes": []}, {"project": "theirs"}, {"project": "../x"}])
def test_a_token_that_cannot_be_is_not_made(world: World, signed_in: Browser, wrong: dict[str, Any]) -> None:
    before = Token.objects.count()
    client = signed_in("owner")
    client.post("/account/tokens", {"name": "x", "scopes": ["jobs:read"], **wrong})
    assert Token.objects.count() == before
    assert 'class="note bad' in client.get("/account").content.decode()


def test_a_new_token_is_shown_once_and_can_be_revoked(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    wish = {"name": "notebook", "days": "30", "scopes": ["jobs:read", "devices:read"], "project": "team", "agent": "on"}
    shown = client.post("/account/tokens", wish).content.decode()
    secret = re.search(r"<code[^>]*>(octolab_[^<]+)</code>", shown)
    assert secret is not None
    assert secret[1] not in client.get("/account").content.decode()
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {secret[1]}"}).status_code == 200
    token = Token.objects.get(user=world.owner.user, name="notebook")
    assert (token.scopes, token.project, token.agent) == (["jobs:read", "devices:read"], world.project, True)
    assert signed_in("outsider").post(reverse("account-revoke", args=[token.pk])).status_code == 404
    assert client.post(reverse("account-revoke", args=[token.pk])).status_code == 302
    assert not Token.objects.filter(pk=token.pk).exists()


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


@pytest.mark.parametrize("page", ["/jobs/00000000-0000-0000-0000-000000000000", "/lab/nonsense", "/examples/none"])
def test_what_is_not_there_is_a_404(world: World, signed_in: Browser, page: str) -> None:
    assert signed_in("owner").get(page).status_code == 404


def test_signing_out_leads_to_the_sign_in_page(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    assert client.get("/jobs").status_code == 302


def test_operators_lock_clear_and_run_by_hand_from_their_desk(world: World, signed_in: Browser) -> None:
    Device.objects.filter(id="arm").update(quarantine="in quarantine: no answer")
    page = signed_in("operator").get("/operator").content.decode()
    assert "Release from quarantine" in page
    assert "cleaning" in page
    posts = {
        "lock": (reverse("operator-lock"), {"target": "module:bench", "reason": "cleaning", "hours": "2"}),
        "unlock": (reverse("operator-unlock", args=[world.lock.pk]), {}),
        "clear_device": (reverse("operator-clear", args=["arm"]), {"note": "plugged in"}),
    }
    for verb, (address, form) in posts.items():
        assert signed_in("owner").post(address, form).status_code == 404, verb
        assert signed_in("operator").post(address, form).status_code == 302, verb
        assert Request.objects.filter(verb=verb).count() == 1, verb
    assert Request.objects.get(verb="lock").payload["expires_at"] is not None
    refused = signed_in("operator").post(reverse("operator-run"), {"task": "bench.nonsense"}, follow=True)
    assert "nonsense" in refused.content.decode()
    assert not Job.objects.filter(manual=True).exists()


def test_every_page_tells_what_does_not_answer_and_tells_nothing_twice(world: World, signed_in: Browser) -> None:
    client = signed_in("viewer")
    for device in the_lab().devices:
        Device.objects.update_or_create(pk=device.id, defaults={"title": device.title, "state": "offline"})
    shown = client.get("/notices").content.decode()
    assert "The scheduler does not answer" in shown
    assert "No module host is connected" in shown
    Leader.objects.update(renewed_at=timezone.now())
    Device.objects.exclude(pk="spectrometer").update(state="idle")
    shown = client.get("/notices").content.decode()
    assert "scheduler does not answer" not in shown
    assert "Without connection: UV-Vis spectrometer. Steps that need it wait." in shown
    again = re.search(r'hx-get="([^"]+)"', shown)
    assert again is not None
    assert client.get(again[1]).status_code == 204
    Device.objects.update(state="idle")
    changed = client.get(again[1])
    assert changed.status_code == 200
    assert "Without connection" not in changed.content.decode()
    assert signed_in("anonymous").get("/notices").status_code == 302


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


def test_the_emergency_stop_is_on_every_page_and_tells_where_it_is_tripped(world: World, signed_in: Browser) -> None:
    client = signed_in("viewer")
    for page in ("/", "/jobs", "/jobs/new", "/account", f"/jobs/{world.job.id}", "/estop"):
        text = client.get(page).content.decode()
        assert "Stop the whole lab NOW?" in text, page
        assert 'id="estop-banner"' in text, page
    assert "EMERGENCY STOP" not in client.get("/notices").content.decode()
    assert client.post("/estop", {"reason": "smoke"}).status_code == 302
    assert "EMERGENCY STOP" in client.get("/notices").content.decode()
    assert "NOT confirmed" in client.get("/estop").content.decode()
    assert "Re-arm" not in client.get("/estop/state").content.decode()
    refused = client.post("/estop/rearm", {"scope": "lab", "note": "fine"})
    assert refused.status_code == 403
    signed_in("operator").post("/estop/rearm", {"scope": "lab", "note": "looked"})
    assert "EMERGENCY STOP" not in client.get("/notices").content.decode()


def test_the_desk_shows_interlocks_and_who_has_seen_them(
    world: World, signed_in: Browser, settings: Any, tmp_path: Path
) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text(
        Path(settings.LAB_FILE).read_text()
        + """
[[interlocks]]
id = "too_hot"
title = "Hotplate too hot"
reading = "stirrer.temperature_degc"
rule = "band"
trip = [5.0, 90.0]
covers = ["batch_synthesis"]
"""
    )
    settings.LAB_FILE = lab
    Interlock.objects.create(id="too_hot", tripped=True, value=95.0, serial=1, since_at=timezone.now())
    page = signed_in("operator").get("/operator").content.decode()
    assert "Hotplate too hot" in page
    assert "tripped" in page
    address = reverse("operator-acknowledge", args=["too_hot"])
    assert signed_in("owner").post(address, {"note": "x"}).status_code == 404
    assert signed_in("operator").post(address, {"note": "fan was off"}).status_code == 302
    assert Request.objects.get(verb="acknowledge").payload == {"interlock": "too_hot", "note": "fan was off"}
    (row,) = world.people["viewer"].client.get("/api/v1/interlocks").json()
    assert (row["id"], row["tripped"], row["value"], row["trip"]) == ("too_hot", True, 95.0, [5.0, 90.0])


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


def test_channels_say_how_the_last_message_fared_and_can_be_tested_by_their_owner(
    world: World, signed_in: Browser
) -> None:
    client = signed_in("owner")
    assert "none yet" in client.get("/account").content.decode()
    address = reverse("account-channel-test", args=[world.channel.pk])
    assert signed_in("outsider").post(address).status_code == 404
    assert client.post(address).status_code == 302
    (message,) = Notification.objects.filter(channel=world.channel)
    assert message.event == "test"
    assert "On its way" in client.get("/account").content.decode()
    Notification.objects.update(gave_up_at=timezone.now(), error="nobody lives there")
    assert "nobody lives there" in client.get("/account").content.decode()
    wish = {
        "name": "mine",
        "url": "slack://aaaaaaaaa/bbbbbbbbb/cccccccccccccccccccccccc",
        "events": ["failed", "asks_person"],
    }
    client.post("/account/channels", wish)
    assert "failed, asks person" in client.get("/account").content.decode()


def test_what_moves_now_and_next_is_listed_for_all_and_named_to_those_who_may_know(
    world: World, signed_in: Browser
) -> None:
    def listed(name: str) -> str:
        page = signed_in(name).get("/lab/devices").content.decode()
        return page[page.index('id="lab-soon"') : page.index("Modules and devices")]

    assert "Nothing is planned to move" in listed("member"), "an interrupted step stands still"
    step = Step.objects.filter(pk=world.step.pk)
    step.update(state="running", devices={"arm": "use", "stirrer": "still"})
    for name, known in (("member", True), ("outsider", False), ("operator", False)):
        shown = listed(name)
        assert "<b>now</b>" in shown
        assert "Robot arm" in shown
        assert "hotplate" not in shown, "what only has to stand still does not move"
        assert ("secret recipe" in shown) is known, name
        assert ("another project" in shown) is not known, name
    soon_s = clock_now() + 600 * 60
    step.update(state="waiting", started_lab_s=None, planned_start_lab_s=soon_s, planned_end_lab_s=soon_s + 10)
    assert re.search(r"in (10 h 00|9 h 5\d) min", listed("member"))
    step.update(planned_start_lab_s=soon_s + 600 * 3600)
    assert "Nothing is planned to move" in listed("member")
    step.update(devices={"arm": "still"}, planned_start_lab_s=soon_s)
    assert "Nothing is planned to move" in listed("member")


def clock_now() -> float:
    return lab_clock().now()
