"""What whoever stands in the lab has to see: what moves, what is stopped, locked or does not answer."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

from django.urls import reverse
from django.utils import timezone

from octolab.dashboard.thelab import lab_clock, the_lab
from octolab.ids import new_id
from scheduler.models import Device, Interlock, Job, Leader, MaintenanceLock, Place, Request, Sample, Step, Stock
from tests.cast import World
from tests.jobs import lab

from .conftest import Browser


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
        assert signed_in(name).post(reverse("operator-refill", args=["vials"]), {"level": 1}).status_code == 404, name


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


def test_who_re_arms_or_releases_is_told_what_moves_then(world: World, signed_in: Browser) -> None:
    at = {"planned_start_lab_s": clock_now() + 600 * 3600, "planned_end_lab_s": clock_now() + 600 * 3700}
    Step.objects.filter(pk=world.step.pk).update(state="waiting", started_lab_s=None, devices={"arm": "use"}, **at)
    client = signed_in("operator")
    client.post("/estop", {"scope": "lab", "reason": "smoke"})
    shown = client.get("/estop/state").content.decode()
    assert "Robot arm" in shown[shown.index("data-goes-on") :]
    assert "secret recipe" not in shown, "whose it is, is no business of who may not see the project"
    assert "secret recipe" in signed_in("owner").get("/estop/state").content.decode()
    Job.objects.update(state="held")
    assert "Nothing waits" in client.get("/estop/state").content.decode()
    Job.objects.update(state="running")
    MaintenanceLock.objects.create(
        kind="device", target="arm", holder=world.operator.user, reason="x", since_at=timezone.now()
    )
    assert "Then <b>Robot arm</b> would begin at once" in client.get("/operator").content.decode()


def test_steps_of_one_order_are_one_decision(world: World, signed_in: Browser) -> None:
    """A decision is about the whole order: who took it for one step would see the next one's arm move."""
    assert world.step.state == "interrupted"
    follows = Step.objects.get(pk=world.step.pk)
    follows.pk, follows.index, follows.name = new_id(), world.step.index + 1, "put_back"
    follows.devices = {"arm": "use"}
    follows.save(force_insert=True)
    desk = signed_in("operator").get("/operator").content.decode()
    assert desk.count('value="done"') == 1
    assert "all 2 steps count as done" in desk
    assert "put back" in desk[desk.index("Needs a decision") : desk.index("count as done")]
    assert "1</b> step needs your decision" in signed_in("operator").get("/notices").content.decode()
    asked = world.operator.client.get("/api/v1/operator/attention").json()["steps"]
    assert [(row["id"], row["together"]) for row in asked] == [(str(world.step.pk), [world.step.name, "put_back"])]


def test_a_step_that_hangs_is_told(world: World, signed_in: Browser) -> None:
    step = Step.objects.filter(pk=world.step.pk)
    step.update(state="running", started_lab_s=clock_now() - 20, duration_s=10.0)
    for name in ("operator", "owner"):
        assert "far longer" not in signed_in(name).get("/notices").content.decode(), name
    step.update(started_lab_s=clock_now() - 600 * 120)
    assert "far longer than expected" in signed_in("operator").get("/notices").content.decode()
    desk = signed_in("operator").get("/operator").content.decode()
    assert "was expected to take 10 s" in desk
    assert "secret recipe" not in desk
    assert signed_in("owner").get(f"/api/v1/jobs/{world.job.pk}/why").json()["reason"] == "overdue"
    (row,) = world.operator.client.get("/api/v1/operator/attention").json()["overdue"]
    assert row["id"] == str(world.step.pk)


def test_a_sample_that_nobody_puts_away_is_asked_for(world: World, signed_in: Browser, settings: Any) -> None:
    settings.LAB_FILE = lab.LABS / "silver.toml"
    Stock.objects.all().delete()
    lab.store("silver")
    desk = reverse("operator")
    Step.objects.update(state="failed")
    Job.objects.filter(pk=world.job.pk).update(state="running")
    Sample.objects.filter(pk=world.sample.pk).update(state="failed")
    stands = Place.objects.filter(resource="vial_holder", index=0)
    stands.update(sample=world.sample, since_lab_s=5.0)
    assert "puts it away" not in signed_in("operator").get(desk).content.decode(), "its job still has it put away"
    Job.objects.filter(pk=world.job.pk).update(state="needs_operator")
    shown = signed_in("operator").get(desk).content.decode()
    assert "of another project's job out of" in unescape(shown)
    assert "1</b> sample has to be taken out by hand" in signed_in("operator").get("/notices").content.decode()
    assert "taken out" not in signed_in("owner").get("/notices").content.decode()
    (row,) = world.operator.client.get("/api/v1/operator/attention").json()["stranded"]
    assert (row["name"], row["sample"]) == ("vial_holder.1", str(world.sample.pk))
    stands.update(sample=None)
    assert world.operator.client.get("/api/v1/operator/attention").json()["stranded"] == []


def clock_now() -> float:
    return lab_clock().now()
