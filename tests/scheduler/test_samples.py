"""Where a sample is and was, what went into it, and stocks that run low."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from modules.contract.clock import LabClock
from notifications.models import Channel, Notification
from octolab import labtime
from scheduler import models
from scheduler.catalogue import Catalogue
from scheduler.services import whereabouts
from tests.scheduler.harness import Bench, S, make_user
from users.services import create_token, set_lab_role


@pytest.fixture(autouse=True)
def _catalogue(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    known = Catalogue(bench.lab, {"bench": bench.host.manifest})
    monkeypatch.setattr("scheduler.catalogue.current", lambda: known)
    clock = LabClock.starting_now(1.0, 100.0)
    monkeypatch.setattr(labtime, "_clock", clock)


def made(bench: Bench) -> models.Sample:
    """Make a sample: put into a slot, filled, stored, with lots that differ."""
    job = bench.job(
        S("put", {"arm": "use"}, takes=["shelf", "slot"], consumes={"vials": 1}),
        S("fill", {"pump": "use", "arm": "still"}, needs=["put"]),
        S("store", {"arm": "use"}, needs=["fill"], frees=["slot"]),
    )
    fill = job.steps.get(name="fill")
    fill.adds = {"solution": "Water", "volume_ul": 250.0, "stock": "vials"}
    fill.save()
    bench.request("refill", stock="vials", amount=1, lot="L-7")
    bench.run_to_end(job)
    return job.samples.get()


def test_the_way_of_a_sample_and_what_went_into_it(bench: Bench) -> None:
    sample = made(bench)
    path = whereabouts.path_of(sample)
    assert [(stay.place, stay.storage, stay.until_lab_s is None) for stay in path] == [
        ("bench.shelf.1", True, True),
        ("bench.slot.1", False, False),
    ]
    steps = {step.name: step for step in sample.job.steps.all()}
    slot = path[1]
    assert slot.step == steps["put"]
    assert slot.until_lab_s is not None
    assert slot.until_lab_s >= slot.since_lab_s + 20
    assert whereabouts.stands(path) == "bench.shelf.1"
    [content] = whereabouts.contents_of(sample)
    assert (content["lot"], content["volume_ul"], content["total_ul"]) == ("L-7", 250.0, 250.0)
    assert (content["devices"], content["step"]) == (["pump"], str(steps["fill"].pk))
    bench.request("collect", sample=str(sample.pk))
    path = whereabouts.path_of(sample)
    assert (whereabouts.stands(path), path[0].until_lab_s) == ("", bench.clock.now())


def test_it_is_shown_over_rest_and_on_a_page_to_its_project_alone(bench: Bench) -> None:
    sample, outsider = made(bench), make_user("eve")
    url = f"/api/v1/samples/{sample.pk}"
    tokens = {user.username: create_token(user, scopes=["jobs:read"])[1] for user in (bench.owner, outsider)}
    shown = Client(headers={"Authorization": f"Bearer {tokens['ada']}"}).get(url).json()
    assert (shown["stands"], [stay["place"] for stay in shown["path"]]) == (
        "bench.shelf.1",
        ["bench.shelf.1", "bench.slot.1"],
    )
    assert shown["contents"][0]["lot"] == "L-7"
    assert Client(headers={"Authorization": f"Bearer {tokens['eve']}"}).get(url).status_code == 404
    for question, count in (("lot=L-7", 1), ("lot=L-7&solution=Water", 1), ("lot=L", 0), ("lot=Water", 0)):
        found = Client(headers={"Authorization": f"Bearer {tokens['ada']}"}).get(f"/api/v1/samples?{question}").json()
        assert [row["id"] for row in found] == [str(sample.pk)] * count, question
    assert Client(headers={"Authorization": f"Bearer {tokens['eve']}"}).get("/api/v1/samples?lot=L-7").json() == []
    browser = Client()
    browser.force_login(bench.owner, backend="django.contrib.auth.backends.ModelBackend")
    page = browser.get(f"/samples/{sample.pk}")
    text = page.content.decode()
    assert "L-7" in text
    assert "<svg" in text
    assert re.search(r"[Bb]ench.{0,3} slot", text), "in words"
    browser.force_login(outsider, backend="django.contrib.auth.backends.ModelBackend")
    assert browser.get(f"/samples/{sample.pk}").status_code == 404


def test_operators_are_told_once_when_a_stock_runs_low(bench: Bench) -> None:
    operator = make_user("olaf")
    set_lab_role(operator, "operator", None)
    Channel.objects.create(user=operator, name="chat", url="json://127.0.0.1:9/")
    steps = [S(f"put{i}", {"arm": "use"}, consumes={"vials": 4}, samples=[i]) for i in range(2)]
    job = bench.job(*steps, samples=2)
    assert models.Stock.objects.get(id="vials").reserved == 8
    bench.run_to_end(job)
    stock = models.Stock.objects.get(id="vials")
    assert (stock.level, stock.reserved) == (2.0, 0.0)
    [told] = Notification.objects.filter(event="stock_low")
    assert told.user == operator
    assert "2 are left" in told.body
    assert models.Event.objects.filter(kind="stock", state_to="low").count() == 1
