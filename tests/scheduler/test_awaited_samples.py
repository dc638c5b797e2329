"""A sample of an earlier job that is not made yet: waited for, taken over when it is stored, or given up with it."""

from __future__ import annotations

from unittest.mock import patch

from scheduler import models
from scheduler.catalogue import Catalogue
from scheduler.services.whereabouts import Stay, path_of
from tests.scheduler.harness import Bench, S, states

MAKE = (
    S("put", {"arm": "use"}, takes=["shelf", "slot"]),
    S("fill", {"pump": "use"}, needs=["put"]),
    S("store", {"arm": "use"}, needs=["fill"], frees=["slot"]),
)


def two_jobs(bench: Bench) -> tuple[models.Job, models.Job]:
    """Insert a job that makes a sample, and one that measures it."""
    first = bench.job(*MAKE, name="make")
    second = bench.job(S("look", {"eye": "use"}), name="look")
    source = {"kind": "sample", "sample": str(first.samples.get().pk), "place": "bench.shelf", "awaited": True}
    second.samples.update(source=source)
    return first, second


def test_it_is_waited_for_in_sight_and_taken_over_with_what_is_in_it(bench: Bench) -> None:
    first, second = two_jobs(bench)
    fill = first.steps.get(name="fill")
    fill.adds = {"solution": "Water", "volume_ul": 250.0, "stock": "vials"}
    fill.save()
    bench.turn()
    bench.look()
    assert states(second) == {"look": "waiting"}
    assert "waits for sample `s0` of job `make`" in second.steps.get().reason
    bench.run_to_end(first)
    bench.look()
    bench.restart()
    bench.look()
    bench.run_to_end(second)
    earlier, later = first.samples.get(), second.samples.get()
    place = models.Place.objects.get(resource="bench.shelf", sample__isnull=False)
    assert place.sample == later
    assert later.contents == earlier.contents
    assert (later.source["index"], "awaited" in later.source) == (place.index, False)
    assert len([stay for stay in path_of_(bench, later) if stay.until_lab_s is None]) == 1
    assert [stay for stay in path_of_(bench, earlier) if stay.until_lab_s is None] == []


def path_of_(bench: Bench, sample: models.Sample) -> list[Stay]:
    with patch("scheduler.catalogue.current", lambda: Catalogue(bench.lab, {"bench": bench.host.manifest})):
        return path_of(sample)


def test_if_it_is_lost_so_is_what_waits_for_it(bench: Bench) -> None:
    first, second = two_jobs(bench)
    bench.turn()
    bench.request("cancel", first)
    bench.run_to_end(first)
    bench.look()
    bench.look()
    second.refresh_from_db()
    assert second.state == "failed"
    assert "is lost" in second.samples.get().reason


def test_two_jobs_cannot_have_the_same(bench: Bench) -> None:
    first, second = two_jobs(bench)
    third = bench.job(S("look", {"eye": "use"}), name="late")
    third.samples.update(source=second.samples.get().source)
    bench.run_to_end(first)
    bench.look()
    bench.run_to_end(second, third)
    ended = {job.name: job.state for job in models.Job.objects.exclude(pk=first.pk)}
    assert sorted(ended.values()) == ["completed", "failed"]
