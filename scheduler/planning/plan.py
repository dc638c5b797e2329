"""The plan: when every step starts and ends, how good that is, and how two plans differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scheduler.planning.problem import Index, Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """Start, end and mode of every step, with the proof of how good they are.

    Attributes
    ----------
    starts, ends
        Ticks, by step id.
    modes
        Index into `Step.modes`, by step id.
    objective
        The tuple that plans are compared by, see `scheduler.planning.objective`.
    bound
        Proven lower bound of the leading soft component (weighted flow or makespan) in ticks, `None` if
        unknown.
    gap
        ``(value - bound) / value`` of that component, `None` without a bound.
    status
        ``optimal``, ``feasible``, ``infeasible`` (proven) or ``unknown``.
    method, seed, base
        How it was made, and the version of the plan it was made from.
    weights
        Weight of each job as it was used, for audit.
    unplaced
        Jobs for which no feasible place was found, with the reason.
    """

    starts: Mapping[str, int]
    ends: Mapping[str, int]
    modes: Mapping[str, int]
    objective: tuple[int, ...] = ()
    objective_name: str = "lab"
    bound: int | None = None
    gap: float | None = None
    status: str = "feasible"
    method: str = ""
    seed: int = 0
    version: int = 0
    base: int = 0
    weights: Mapping[str, int] = field(default_factory=dict)
    unplaced: Mapping[str, str] = field(default_factory=dict)

    @property
    def makespan(self) -> int:
        """The last end in ticks; 0 for an empty plan."""
        return max(self.ends.values(), default=0)


@dataclass(frozen=True, slots=True)
class Move:
    """A step that stands elsewhere than before. `shift` is the change of its start in ticks."""

    step: str
    job: str
    shift: int
    mode_changed: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """How a plan differs from the one before it."""

    moved: tuple[Move, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    finish_shift: Mapping[str, int]
    tick: float = 1.0

    def __str__(self) -> str:
        """Say it in one line, e.g. ``3 steps moved, worst +4 min for job 17``."""
        if not (self.moved or self.added or self.removed):
            return "nothing changed"
        parts = []
        if self.moved:
            text = f"{len(self.moved)} step{'s' * (len(self.moved) > 1)} moved"
            job, shift = max(self.finish_shift.items(), key=lambda item: (item[1], item[0]), default=("", 0))
            if shift:
                text += f", worst {say_duration(shift, self.tick, signed=True)} for job {job}"
            parts.append(text)
        if self.added:
            parts.append(f"{len(self.added)} added")
        if self.removed:
            parts.append(f"{len(self.removed)} removed")
        return "; ".join(parts)


def diff(problem: Problem, old: Plan, new: Plan) -> Diff:
    """Compare two plans; `problem` is the one that `new` answers."""
    index: Index = problem.index()
    moved, finish_old, finish_new = [], dict[str, int](), dict[str, int]()
    for step, start in new.starts.items():
        if step not in old.starts or step not in index.job_of:
            continue
        job = index.job_of[step].id
        finish_old[job] = max(finish_old.get(job, 0), old.ends[step])
        finish_new[job] = max(finish_new.get(job, 0), new.ends[step])
        other = old.modes.get(step, 0) != new.modes.get(step, 0)
        if start != old.starts[step] or other:
            moved.append(Move(step, job, start - old.starts[step], other))
    touched = {move.job for move in moved}
    return Diff(
        moved=tuple(moved),
        added=tuple(step for step in new.starts if step not in old.starts),
        removed=tuple(step for step in old.starts if step not in new.starts),
        finish_shift={job: finish_new[job] - finish_old[job] for job in sorted(touched)},
        tick=problem.tick,
    )


def say_duration(ticks: int, tick: float = 1.0, *, signed: bool = False) -> str:
    """Write `ticks` of `tick` seconds each for a person: ``45 s``, ``4 min``, ``2 h 05 min``."""
    seconds = abs(ticks) * tick
    sign = ("-" if ticks < 0 else "+") if signed else ("-" if ticks < 0 else "")
    if seconds < 90:
        return f"{sign}{seconds:.0f} s" if seconds == int(seconds) else f"{sign}{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{sign}{minutes} min"
    return f"{sign}{minutes // 60} h {minutes % 60:02d} min"
