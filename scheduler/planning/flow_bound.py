"""A bound on the weighted flow that takes all devices together.

A job finishes no earlier than any of its steps ends, plus what must follow that step; hence no earlier than
any weighted mean of these, over steps on any devices. For fixed weights the least such sum splits into one
single-machine problem for each device, which preemptive shortest-weighted-processing-time order solves
(Goemans 1997). The weights are multipliers in the sense of Lagrange: they are moved towards the steps that
bound their job most, and every position of theirs gives a valid bound.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from scheduler.planning.bounds import Frame, mean_busy_dates
from scheduler.planning.objective import STRETCH_LIMIT
from scheduler.planning.problem import Problem

TURNS = 60
MOST_WORK = 60_000
"""How often the multipliers are moved, and how many steps that may take together."""
SPEED = 1.0
ELSEWHERE = 0.1
"""Share of a job's weight that starts away from the busiest device."""
ROUNDING = 1e-3


@dataclass(slots=True)
class _Piece:
    """A step on a device; a piece without one stands for the job's longest path alone.

    `value` is the least moment, in the last relaxation, at which the job can end because of it.
    """

    device: str
    head: int
    work: int
    tail: int
    share: float = 0.0
    value: float = 0.0


def joint_flow_bound(problem: Problem, *, guard: bool = False, stop: Callable[[], bool] | None = None) -> int:
    """Return a lower bound in ticks of the weighted flow.

    Parameters
    ----------
    problem
        What is planned.
    guard
        Whether the flow counts with its stretch guard, as in the objective ``lab``.
    stop
        Ends it earlier.
    """
    return _Relaxation(problem, guard=guard).run(stop)


class _Relaxation:
    def __init__(self, problem: Problem, *, guard: bool) -> None:
        frame = Frame(problem)
        self.jobs = [job for job in problem.jobs if any(True for _ in job.steps())]
        self.guard = guard
        self.limit = {job.id: STRETCH_LIMIT * frame.alone[job.id] for job in self.jobs}
        self.extra = dict.fromkeys(self.limit, 0.0)
        self.pieces: dict[str, list[_Piece]] = {}
        for job in self.jobs:
            path = max(frame.head[step.id] + frame.shortest[step.id] for step in job.steps())
            self.pieces[job.id] = [_Piece("", 0, 0, path, value=path)]
        for device, rows in frame.loads.items():
            for head, work, tail, job_id in rows:
                if work:
                    self.pieces[job_id].append(_Piece(device, head, work, tail))
        self._spread(frame)

    def _spread(self, frame: Frame) -> None:
        """Begin with the steps on the busiest device, in proportion to their work."""
        load = {device: sum(row[1] for row in rows) for device, rows in frame.loads.items()}
        busiest = max(load, key=lambda device: (load[device], device), default="")
        for pieces in self.pieces.values():
            there = sum(piece.work for piece in pieces if piece.device == busiest)
            elsewhere = sum(piece.work for piece in pieces) - there
            for piece in pieces:
                if piece.device == busiest and there:
                    piece.share = piece.work / there
                elif piece.device:
                    piece.share = ELSEWHERE * piece.work / elsewhere
                else:
                    piece.share = ELSEWHERE if there else 1.0
            self._normalise(pieces)

    @staticmethod
    def _normalise(pieces: list[_Piece]) -> None:
        total = sum(piece.share for piece in pieces)
        for piece in pieces:
            piece.share /= total

    def run(self, stop: Callable[[], bool] | None) -> int:
        best, size = 0.0, 1 + sum(map(len, self.pieces.values()))
        turns = max(2, min(TURNS, MOST_WORK // size))
        for turn in range(turns):
            best = max(best, self._relax())
            if stop is not None and stop():
                break
            self._move(SPEED / (1 + turn / 15))
        return max(0, math.ceil(best - ROUNDING))

    def _relax(self) -> float:
        """Solve every device's problem for the present weights and return the bound."""
        devices: dict[str, dict[str, tuple[int, int, float]]] = defaultdict(dict)
        names: dict[str, _Piece] = {}
        for job in self.jobs:
            heavy = job.weight * (1 + self.extra[job.id])
            for number, piece in enumerate(self.pieces[job.id]):
                if piece.device:
                    name = f"{job.id} {number}"
                    names[name] = piece
                    devices[piece.device][name] = (piece.head, piece.work, heavy * piece.share)
        for rows in devices.values():
            for name, busy in mean_busy_dates(rows).items():
                piece = names[name]
                piece.value = busy + piece.work / 2 + piece.tail
        total = 0.0
        for job in self.jobs:
            extra = self.extra[job.id]
            total += job.weight * ((1 + extra) * self._flow(job.id, job.release) - extra * self.limit[job.id])
        return total

    def _flow(self, job: str, release: int) -> float:
        return sum(piece.share * piece.value for piece in self.pieces[job]) - release

    def _move(self, speed: float) -> None:
        """Shift weight to the steps that bound their job most."""
        for job in self.jobs:
            pieces = self.pieces[job.id]
            flow = self._flow(job.id, job.release)
            if self.guard and self.limit[job.id]:
                moved = self.extra[job.id] + speed * (flow / self.limit[job.id] - 1)
                self.extra[job.id] = min(1.0, max(0.0, moved))
            scale = max(flow, 1.0)
            for piece in pieces:
                away = (piece.value - job.release - flow) / scale
                piece.share = max(1e-9, piece.share * math.exp(max(-3.0, min(3.0, speed * away))))
            self._normalise(pieces)
