"""What a forecast leaves out: others come, plans change. Ranges are widened for it, and then by how past ones fared.

A forecast follows one plan. In a lab with many jobs the plan does not last: what ends late or early changes the order,
and what was moved once moves the rest. How far that carries a job grows with what lies ahead of it, and with the number
of jobs; `unsure` adds as much from the first prediction on. The rest is learnt: see `Calibration`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import NormalDist

from scheduler.planning.durations import Z80, Range

UNSURE = 0.07
"""By this share of what lies ahead, times the root of the number of jobs, a changed plan may move a job …"""
UNSURE_MOST = 0.5
"""… but by no more than this."""
MISSES = 0.1
"""To either side; what a range of 80 % promises."""
MISSES_LEAST, MISSES_MOST = 0.005, 0.2
PACE = 0.005
"""How fast the misses that are aimed at follow those that happen."""
KEPT = 400
WORST = 20.0
"""Scores count for no more than this: one job that somebody forgot must not make all ranges endless."""
PRIOR = 10
"""Scores of a perfect forecast that a calibration begins with."""
NARROWEST = 0.05
TINY = 1e-6
_PERFECT = [NormalDist().inv_cdf((i + 0.5) / PRIOR) / Z80 for i in range(PRIOR)]

Scales = tuple[float, float]
"""What the half-widths of a range are multiplied by: the one below its median, the one above."""


def unsure(raw: Range, now: float, jobs: int, least: float = 0.0) -> Range:
    """Return a forecast's range, widened by what a change of the plan may do.

    Parameters
    ----------
    raw
        What follows from the plan as it is.
    now
        When that was found out.
    jobs
        How many jobs are in the lab, this one among them.
    least
        No half-width is less, in the unit of the range.
    """
    share = min(UNSURE_MOST, UNSURE * math.sqrt(max(1, jobs)))
    change = share * max(0.0, raw.median - now)
    below, above = (max(least, TINY, math.hypot(half, change)) for half in halves(raw))
    return Range(raw.median - below, raw.median, raw.median + above)


def halves(found: Range) -> tuple[float, float]:
    """Return the half-widths of a range, below and above its median."""
    return found.median - found.low, found.high - found.median


def score(found: Range, value: float) -> float:
    """Return how far from the median something happened, in half-widths of the range that was not yet corrected."""
    below, above = halves(found)
    return (value - found.median) / max(TINY, above if value > found.median else below)


class Calibration:
    """Widens or narrows ranges to each side by what past ones would have needed: adaptive conformal inference.

    A score says how far from the median something happened, in half-widths of its range. Nine tenths of all scores of
    a side should be smaller than what the next range is widened by (split conformal prediction); it begins with the
    scores of a perfect forecast. That would be enough if jobs had nothing to do with one another. But those that are in
    the lab together share their fate, so that a hundred scores may be worth ten, and what nobody foresees changes with
    the work. So the share itself follows the misses (Gibbs and Candès 2021): each range that was told and did not hold
    makes it larger, each that held makes it a little smaller, and in the long run as many hold as was promised.
    """

    def __init__(self) -> None:
        self._low, self._high = _Side(), _Side()

    @property
    def scales(self) -> Scales:
        """What the half-widths of the next range are multiplied by."""
        return self._low.scale, self._high.scale

    def observe(self, score: float, told: Scales) -> None:
        """Learn from what happened: its score, and the scales of the range that was told; see `score`."""
        score = max(-WORST, min(WORST, score))
        self._low.observe(-score, told[0])
        self._high.observe(score, told[1])

    def apply(self, found: Range, now: float) -> Range:
        """Return the range that is to be told instead of one that was not yet corrected; none of it is past."""
        below, above = halves(found)
        low = max(found.median - self._low.scale * below, min(now, found.median))
        return Range(low, found.median, found.median + self._high.scale * above)


class _Side:
    """One side of all ranges."""

    def __init__(self) -> None:
        self.scale = 1.0
        self._scores: deque[float] = deque(maxlen=KEPT)
        self._aim = MISSES

    def observe(self, score: float, told: float) -> None:
        missed = score > told
        self._aim = min(MISSES_MOST, max(MISSES_LEAST, self._aim + PACE * (MISSES - missed)))
        self._scores.append(score)
        self.scale = _quantile([*_PERFECT, *self._scores], 1 - self._aim)


def _quantile(scores: Iterable[float], share: float) -> float:
    """Return the conformal quantile: at least this share of the scores, and of one more, is not larger."""
    rows = sorted(scores)
    place = min(len(rows) - 1, math.ceil(share * (len(rows) + 1)) - 1)
    return max(NARROWEST, rows[place])
