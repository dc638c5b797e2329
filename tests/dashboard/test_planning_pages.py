"""The pages about predictions and what-if."""

from __future__ import annotations

import pytest
from django.utils import timezone

from scheduler.models import Device, Job, Prediction
from tests.cast import World

from .conftest import Browser


def test_predictions_are_drawn_and_counted(world: World, signed_in: Browser) -> None:
    assert "No job that was predicted has finished yet" in signed_in("outsider").get("/predictions").content.decode()
    Job.objects.filter(pk=world.job.pk).update(state="completed", started_lab_s=10, finished_lab_s=80)
    Prediction.objects.create(
        job=world.job, made_at=timezone.now(), made_lab_s=0, first=True, start_low_lab_s=9, start_lab_s=10,
        start_high_lab_s=12, finish_low_lab_s=40, finish_lab_s=50, finish_high_lab_s=60, scales=[1] * 8,
    )  # fmt: skip
    page = signed_in("outsider").get("/predictions").content.decode()
    assert "30 s later than predicted" in page
    assert "100.0 %" in page
    assert "0.0 %" in page
    assert "secret recipe" not in page


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({}, "Say what would be otherwise"),
        ({"device": "arm", "change": "maintenance", "length": "never"}, "no number of hours"),
        ({"device": "legs", "change": "lose"}, "no device `legs`"),
        ({"document": "name: x"}, "workflow"),
        ({"device": "arm", "change": "lose"}, "The scheduler does not answer"),
    ],
)
def test_what_if_says_what_is_wrong_and_waits_for_nobody(
    world: World, signed_in: Browser, monkeypatch: pytest.MonkeyPatch, form: dict[str, str], said: str
) -> None:
    monkeypatch.setattr("scheduler.services.whatif.WAIT_S", 0.05)
    Device.objects.get_or_create(id="arm", defaults={"host": "here"})
    owner = signed_in("owner")
    assert owner.get("/what-if").status_code == 200
    assert said in owner.post("/what-if", form).content.decode()
