"""Jobs that no plan can do are refused with the smallest conflict and a repair that was tried."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scheduler import catalogue
from scheduler.models import Job, Step
from scheduler.process.advice import feasible
from scheduler.process.picture import Picture
from scheduler.services import feasible as service
from tests.cast import Person, person

URL = "/api/v1/jobs"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:
    open_lab("virtual")
    service._possible.clear()
    service._said.clear()
    return person("ann")


def post(who: Person, workflow: list[dict[str, Any]], **more: Any) -> Any:
    return who.client.post(URL, {"name": "Work", "workflow": workflow, **more}, content_type="application/json")


def occupy(time: str, device: int = 1, **more: Any) -> dict[str, Any]:
    return {"task": "virtual.occupy", "with": {"time": time, "devices": [f"virtual_{device}"]}, **more}


def chain(window: str) -> list[dict[str, Any]]:
    """Return a workflow in which the last task must follow the first within a time, with 12 min between."""
    return [
        occupy("1 min", id="make"),
        occupy("12 min", id="wash"),
        occupy("1 min", id="see", needs=["wash"], within={"make": window}),
    ]


def test_a_window_that_is_too_short_is_refused_with_a_repair_that_works(ann: Person) -> None:
    answer = post(ann, chain("5 min"))
    assert answer.status_code == 422, answer.content
    [error] = answer.json()["errors"]
    assert error["path"] == "/workflow/2/within/make"
    assert "At most 5 min may pass after the end of `make`, but `wash` must be done between" in error["message"]
    found = re.search(r"Write (\d+) min or more", error["message"])
    assert found is not None, error["message"]
    assert found[1] == "12"
    assert not Job.objects.exists()
    assert not Step.objects.exists()
    assert post(ann, chain(f"{found[1]} min")).status_code == 202
    assert (
        ann.client.post(f"{URL}/preview", {"name": "x", "workflow": chain("5 min")}, "application/json").status_code
        == 422
    )


def test_what_needs_a_proof_is_accepted_without_one_and_refused_with_one(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both must follow within a minute, on the one device; each takes ten."""
    workflow = [
        occupy("1 min", 1, id="make"),
        occupy("10 min", 2, id="one", needs=["make"], within="1 min"),
        occupy("10 min", 2, id="two", needs=["make"], within="1 min"),
    ]
    monkeypatch.setattr(service, "ask", lambda question, wait_s: None)
    assert post(ann, workflow).status_code == 202

    def prove(question: dict[str, Any], wait_s: float) -> dict[str, Any]:
        return feasible(Picture(), {"job": question["problem"]})

    monkeypatch.setattr(service, "ask", prove)
    answer = post(ann, workflow)
    assert answer.status_code == 422
    assert {error["path"] for error in answer.json()["errors"]} == {"/workflow/1/within", "/workflow/2/within"}
    assert "is 10 min instead of 60 s" in answer.json()["errors"][0]["message"]


def test_a_shape_that_was_possible_is_not_looked_at_again(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    assert post(ann, chain("20 min")).status_code == 202
    monkeypatch.setattr(service, "MaskingTable", None)
    assert post(ann, chain("20 min")).status_code == 202
    assert post(ann, [occupy("1 min")]).status_code == 202


def test_a_window_around_a_long_task_is_refused_for_many_samples_and_behind_what_is_measured_first(
    open_lab: Callable[[str], None],
) -> None:
    open_lab("silver")
    bea = person("bea")
    workflow = [
        {"task": "batch_synthesis.prepare"},
        {"task": "batch_synthesis.add", "with": {"solution": "Citrate", "volume": "1 mL"}},
        {"task": "batch_synthesis.react", "with": {"time": "1 h"}},
        {"id": "look", "task": "uv_vis.measure", "within": {"prepare": "10 min"}},
        {"task": "uv_vis.measure", "with": {"wavelength_start": "$look.peak_nm"}},
    ]
    answer = post(bea, workflow, samples=6)
    assert answer.status_code == 422, answer.content
    [error] = answer.json()["errors"]
    assert error["path"] == "/workflow/3/within/prepare"
    found = re.search(r"`add` and `react` must be done between, .* Write (\d+ min) or more", error["message"])
    assert found is not None, error["message"]
    workflow[3]["within"] = {"prepare": found[1]}
    assert post(bea, workflow, samples=1).status_code == 202


def test_a_step_that_is_longer_than_anybody_is_there(
    open_lab: Callable[[str], None], settings: Any, tmp_path: Path
) -> None:
    open_lab("silver")
    text = settings.LAB_FILE.read_text().replace(
        'title = "Whoever is on duty"', 'title = "Whoever is on duty"\nhours = "Mon-Fri 09:00-12:00, Fri 12:00-13:00"'
    )
    settings.LAB_FILE = tmp_path / "lab.toml"
    settings.LAB_FILE.write_text(text)
    catalogue.forget()
    bea = person("bea")
    ask = {"task": "people.do", "with": {"instruction": "Watch it."}}
    answer = post(bea, [ask, {**ask, "with": {"instruction": "Watch it.", "time": "5 h"}}])
    assert answer.status_code == 422, answer.content
    [error] = answer.json()["errors"]
    assert error["path"] == "/workflow/1"
    assert "busy for 300 min, but `operator` is there for at most 240 min at a stretch" in error["message"]
    assert post(bea, [ask, {**ask, "with": {"instruction": "Watch it.", "time": "4 h"}}]).status_code == 202
