"""Fair share in the live scheduler."""

from __future__ import annotations

import pytest

from modules.contract.messages import Order
from scheduler import models
from scheduler.services.standing import standing
from tests.scheduler.harness import Bench, S, make_job, make_user, wait_until
from users.models import Project


def starts(*jobs: models.Job) -> list[str]:
    """Return the names of jobs in the order in which they started."""
    rows = models.Job.objects.filter(pk__in=[job.pk for job in jobs]).order_by("started_lab_s", "id")
    return list(rows.values_list("name", flat=True))


def flood(bench: Bench, user: str, number: int, duration_s: float = 600.0) -> list[models.Job]:
    owner = make_user(user)
    step = S("a", {"arm": "use"}, duration_s=duration_s, samples=None)
    return [make_job(owner, [step], samples=0, name=f"{user}{n}") for n in range(number)]


def start_first(bench: Bench) -> None:
    """Let the host begin with the first order."""
    orders: list[Order] = []

    def ordered() -> bool:
        # Making many jobs may have taken longer than a host may be silent.
        bench.alive()
        bench.turn()
        orders.extend(bench.host.claim())
        return bool(orders)

    wait_until(ordered)
    bench.host.start(orders[0])


def drain(bench: Bench, *jobs: models.Job) -> None:
    bench.run_to_end(*jobs, tick_s=300.0)


def test_a_flood_delays_the_other_s_job_by_one_running_task(bench: Bench) -> None:
    many = flood(bench, "flood", 12)
    bench.turn()
    light = flood(bench, "light", 1)
    bench.turn(1)
    light[0].refresh_from_db()
    assert light[0].predicted_start_lab_s is not None
    assert light[0].predicted_start_lab_s <= 100 + 600 + 5
    drain(bench, *many, *light)
    assert starts(*many, *light).index("light0") == 1


def test_a_flood_of_five_hundred_delays_the_other_s_job_by_one_running_task(bench: Bench) -> None:
    many = flood(bench, "flood", 500)
    start_first(bench)
    bench.turn(300.0)
    assert models.Job.objects.filter(pk__in=[job.pk for job in many], started_lab_s__isnull=False).count() == 1
    came_s = bench.clock.now()
    light = flood(bench, "light", 1)
    drain(bench, *light)
    light[0].refresh_from_db()
    begun = models.Job.objects.filter(pk__in=[job.pk for job in many], started_lab_s__isnull=False)
    assert light[0].started_lab_s is not None
    assert begun.filter(started_lab_s__lt=light[0].started_lab_s).count() == 1, "the one that was running"
    # The bench's host looks every 300 s.
    assert light[0].started_lab_s - came_s <= 600 + 300


def test_begun_work_yields_between_its_samples(bench: Bench) -> None:
    """A job with many samples that has begun does not make another user wait for all of them."""
    owner = make_user("heavy")
    steps = [S(f"s{n}", {"arm": "use"}, duration_s=600.0, samples=(n,)) for n in range(12)]
    heavy = make_job(owner, steps, samples=12, name="heavy")
    start_first(bench)
    bench.turn(300.0)
    came_s = bench.clock.now()
    light = flood(bench, "light", 1)
    drain(bench, *light)
    light[0].refresh_from_db()
    assert light[0].started_lab_s is not None
    assert light[0].started_lab_s - came_s <= 600 + 300
    drain(bench, heavy)


def test_two_floods_alternate(bench: Bench) -> None:
    one, two = flood(bench, "ann", 5), flood(bench, "ben", 5)
    drain(bench, *one, *two)
    order = [name[:3] for name in starts(*one, *two)]
    assert all(abs(order[:n].count("ann") - order[:n].count("ben")) <= 1 for n in range(len(order)))


def test_a_project_s_share_counts(bench: Bench) -> None:
    one, two = flood(bench, "ann", 6), flood(bench, "ben", 6)
    Project.objects.filter(personal_of=two[0].owner).update(share=2.0)
    bench.restart()
    drain(bench, *one, *two)
    assert [name[:3] for name in starts(*one, *two)][:6].count("ben") == 4


def test_recent_use_outlives_the_scheduler(bench: Bench) -> None:
    drain(bench, *flood(bench, "ann", 3))
    bench.restart()
    row = models.RecentUse.objects.get()
    assert row.used_s == pytest.approx(3 * 600, rel=0.01)
    ann = models.Job.objects.first().owner  # type: ignore[union-attr]
    step = S("a", {"arm": "use"}, duration_s=600.0, samples=None)
    blocker = make_job(ann, [step], samples=0, name="blocker")
    bench.turn()
    again = make_job(ann, [step], samples=0, name="again")
    new = flood(bench, "new", 1)
    bench.turn()
    drain(bench, blocker, again, *new)
    assert starts(blocker, again, *new) == ["blocker", "new0", "again"]


def test_the_numbers_are_kept_with_the_job_and_explained(bench: Bench) -> None:
    jobs = flood(bench, "ann", 4)
    bench.turn()
    bench.turn(1)
    last = models.Job.objects.select_related("project").get(pk=jobs[-1].pk)
    assert last.weight is not None
    assert last.weight["fair"] < 0
    shown = standing(last)
    assert shown["jobs_before"] == 3
    assert shown["weight"] == last.weight["weight"]
    assert "3 jobs" in shown["reasons"][0]
    assert "Fair share lowers" in shown["reasons"][1]
    first = standing(models.Job.objects.select_related("project").get(pk=jobs[0].pk))
    assert first["fair_share"] == 0


def test_priority_works_within_an_account(bench: Bench) -> None:
    jobs = flood(bench, "ann", 3)
    urgent = make_job(jobs[0].owner, [S("a", {"arm": "use"}, duration_s=600.0, samples=None)], samples=0,
                      name="urgent", priority=3)  # fmt: skip
    drain(bench, *jobs, urgent)
    assert starts(*jobs, urgent)[0] == "urgent"
