"""The module at a bench of its own, without a server: driver and simulated instrument, over the real wire.

``python -m unittest`` runs it; pytest does too.
"""

from __future__ import annotations

import unittest
from pathlib import Path

from octolab.sdk.testing import simulated_bench

LAB = Path(__file__).parent / "lab.toml"


class TestDoser(unittest.TestCase):
    def setUp(self) -> None:
        self.bench = self.enterContext(simulated_bench(LAB, "our_doser"))

    def test_a_dose_is_weighed(self) -> None:
        done = self.bench.run("dose", {"mass": 20})
        assert done.state == "completed", done.error
        assert 19 < done.results["mass"] < 21
        assert abs(done.array("curve")[-1] - done.results["mass"]) < 0.001
        assert done.commands == ["doser: DOSE 20"]

    def test_who_ends_a_dose_early_stops_the_powder(self) -> None:
        done = self.bench.run("dose", {"mass": 200}, ask="abort")
        assert done.state == "aborted"
        assert not self.bench.device("doser").is_dosing()

    def test_nonsense_on_the_wire_is_named_and_nothing_is_sent_twice(self) -> None:
        self.bench.fault("doser", "garbage")
        done = self.bench.run("dose", {"mass": 20})
        assert done.state == "interrupted", "nobody knows whether the powder fell: a person has to look"
        assert "makes no sense" in done.error
        assert done.commands == ["doser: DOSE 20"]

    def test_the_instrument_itself_confirms_a_stop(self) -> None:
        assert self.bench.device("doser").safe_state()


if __name__ == "__main__":
    unittest.main()
