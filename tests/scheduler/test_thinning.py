"""What grows with every plan is thinned out behind the last days, beside the work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler import models
from scheduler.process import thinning
from tests.scheduler.harness import Bench, S


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Let every turn look at seven rows."""
    monkeypatch.setattr(thinning, "EVERY_S", 0.0)
    monkeypatch.setattr(thinning, "PIECE", 7)
    settings.HISTORY_DAYS = 30


def versions(start: datetime, count: int, first: int) -> None:
    """Write a version each ten minutes."""
    models.PlanVersion.objects.bulk_create(
        models.PlanVersion(version=first + n, made_at=start + timedelta(minutes=10 * n), lab_s=n, method="repair")
        for n in range(count)
    )


def told(job: models.Job, made_at: datetime, *, first: bool = False) -> models.Prediction:
    times = dict.fromkeys(
        ("made_lab_s", "start_low_lab_s", "start_lab_s", "start_high_lab_s", "finish_low_lab_s", "finish_lab_s",
         "finish_high_lab_s"), 1.0)  # fmt: skip
    return models.Prediction.objects.create(job=job, made_at=made_at, first=first, scales=[1.0] * 8, **times)


@pytest.mark.usefixtures("eager")
def test_of_old_plans_the_last_of_each_hour_stays_and_work_goes_on(bench: Bench) -> None:
    job = bench.job(*(S(f"s{n}", {"arm": "use"}, 1.0, needs=[f"s{n - 1}"] if n else []) for n in range(12)))
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    bench.turn()
    newest = models.PlanVersion.objects.latest("version").version
    versions(midnight - timedelta(days=40), 36, -2_000)
    versions(midnight - timedelta(days=10), 12, -1_000)
    bench.scheduler.thinning = thinning.Thinning()
    bench.run_to_end(job)
    left = list(models.PlanVersion.objects.order_by("version").values_list("version", flat=True))
    assert [version for version in left if version < -1_000] == [6 * n - 1_995 for n in range(6)]
    assert [version for version in left if -1_000 <= version < 0] == [n - 1_000 for n in range(12)]
    assert newest in left


@pytest.mark.usefixtures("eager")
def test_of_what_a_job_was_told_long_ago_the_first_and_the_last_stay(bench: Bench) -> None:
    job, other = bench.job(S("a", {"arm": "use"})), bench.job(S("b", {"arm": "use"}))
    models.Prediction.objects.all().delete()
    old, new = datetime.now(UTC) - timedelta(days=31), datetime.now(UTC) - timedelta(days=29)
    first = told(job, old, first=True)
    rows = [told(job, old) for _ in range(20)]
    only = [told(other, old, first=True), *(told(other, new) for _ in range(3))]
    bench.scheduler.thinning = thinning.Thinning()
    written = {row.pk for row in (first, *rows, *only)}
    bench.run_to_end(job, other)
    left = set(models.Prediction.objects.filter(pk__in=written).values_list("pk", flat=True))
    assert {row.pk for row in (first, *only)} <= left
    assert len(left & {row.pk for row in rows}) <= 1


@pytest.mark.usefixtures("eager")
def test_of_old_events_only_those_of_the_plan_go(bench: Bench) -> None:
    job = bench.job(S("a", {"arm": "use"}), S("b", {"arm": "use"}, needs=["a"]))
    bench.run_to_end(job)
    models.Event.objects.update(at=datetime.now(UTC) - timedelta(days=31))
    kept = list(models.Event.objects.exclude(kind="plan").order_by("seq").values_list("seq", flat=True))
    assert models.Event.objects.filter(kind="plan").exists()
    bench.scheduler.thinning = thinning.Thinning()
    for _ in range(len(kept) + 20):
        bench.turn()
    assert list(models.Event.objects.filter(seq__lte=kept[-1]).order_by("seq").values_list("seq", flat=True)) == kept
