"""The plan in force as a planner child knows it. Only what has changed since the last time crosses the pipe.

A large plan is megabytes of text, and most of it stays what it was from one question to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scheduler.planning.codec import from_data, to_data
from scheduler.planning.explain import Explainer
from scheduler.planning.plan import Plan
from scheduler.planning.problem import Job, Problem
from scheduler.process.line import Line
from scheduler.process.turns import Turns

_PARTS = ("problem", "plan", "turns")
_MISSING = object()


class Painter:
    """Turns questions into plain data for one child, and remembers what the child knows of the plan."""

    def __init__(self) -> None:
        self._sent: dict[str, Mapping[str, Any]] = {}

    def __call__(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Return a question as plain data: ``problem``, ``plan`` and ``turns`` in it as their difference."""
        row = {name: value for name, value in question.items() if name not in _PARTS}
        if "problem" in question:
            row["picture"] = self._difference(question["problem"], question["plan"], question.get("turns"))
        data: dict[str, Any] = to_data(row)
        return data

    def _difference(self, problem: Problem, plan: Plan, turns: Turns | None) -> dict[str, Any]:
        jobs = {job.id: job for job in problem.jobs}
        row: dict[str, Any] = {
            "frame": replace(problem, jobs=()),
            "version": plan.version,
            # Weights change all the time, and little else does.
            "weights": {name: job.weight for name, job in jobs.items()},
            "jobs": self._changed("jobs", {name: replace(job, weight=0) for name, job in jobs.items()}),
            "starts": self._changed("starts", plan.starts),
            "ends": self._changed("ends", plan.ends),
        }
        if turns is not None:
            row["turns"] = replace(turns, places={})
            row["places"] = self._changed("places", turns.places)
        return row

    def _changed(self, part: str, now: Mapping[str, Any]) -> dict[str, Any]:
        known = self._sent.get(part, {})
        self._sent[part] = now
        changed = {name: value for name, value in now.items() if known.get(name, _MISSING) != value}
        return {"set": changed, "gone": [name for name in known if name not in now]}


class Picture:
    """What a child knows of the plan."""

    def __init__(self) -> None:
        self.problem = Problem((), ())
        self.plan = Plan({}, {}, {})
        self.turns = Turns(Line(0.0, 1.0, ()), {})
        self._explainer: Explainer | None = None
        self._jobs: dict[str, Job] = {}
        self._starts: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._places: dict[str, tuple[float, ...]] = {}

    @property
    def explainer(self) -> Explainer:
        """Answers why something waits, as long as the picture stays as it is."""
        self._explainer = self._explainer or Explainer(self.problem, self.plan)
        return self._explainer

    @property
    def settled(self) -> Plan:
        """The plan in force, with what is out of date in it put right."""
        return Plan(*self.explainer.settled.spans())

    def knows(self, job: Job) -> bool:
        """Whether the laboratory has all that a job speaks of."""
        table = self.explainer.settled
        known = {device.id for device in self.problem.devices}
        uses = [use for step in job.steps() for mode in step.modes for use in mode.uses]
        names = {use.device for use in uses} | {setting.device for setting in job.settings}
        return names <= known and all(table.shares(use.device) for use in uses if use.still)

    def inserted(self, job: Job) -> Plan:
        """Return the plan with one more job, which has found its place in the gaps."""
        table = self.explainer.settled
        try:
            order = table.add_job(job)
            if table.place(order) is not None:
                table.place(order, elastic=True)
            return Plan(*table.spans())
        finally:
            table.drop_job(job.id)

    def change(self, row: Mapping[str, Any]) -> None:
        """Take in what has changed."""
        self._explainer = None
        _apply(self._jobs, row["jobs"], lambda data: from_data(Job, data))
        _apply(self._starts, row["starts"], int)
        _apply(self._ends, row["ends"], int)
        jobs = tuple(replace(self._jobs[name], weight=weight) for name, weight in row["weights"].items())
        self.problem = replace(from_data(Problem, row["frame"]), jobs=jobs)
        modes = dict.fromkeys(self._starts, 0)
        self.plan = Plan(dict(self._starts), dict(self._ends), modes, version=row["version"])
        if "turns" in row:
            _apply(self._places, row["places"], tuple)
            self.turns = replace(from_data(Turns, row["turns"]), places=self._places)


def _apply(known: dict[str, Any], row: Mapping[str, Any], read: Any) -> None:
    for name in row["gone"]:
        del known[name]
    known.update({name: read(value) for name, value in row["set"].items()})
