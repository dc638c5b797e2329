"""The shipped modules' actions against the simulated instruments."""

from __future__ import annotations

from pathlib import Path

from octolab.ids import new_id
from scheduler.generator import generate
from scheduler.jobformat import parse
from tests.jobs.lab import catalogue, example
from tests.modules.bench import running


def test_two_vials(tmp_path: Path) -> None:
    text = example("silver-nanoparticles").replace("count: 6", "count: 2")
    expansion = generate(parse(text), catalogue("silver"), new_id())
    with running("silver", tmp_path, scale=2000) as runner:
        contexts = runner.run_all(expansion)
        for d in runner.durations:
            print(d)
        print([c.results for c in contexts if c.results])
        print(runner.bench.world.incidents, runner.bench.world.spilled_ul)
    assert 0
