"""Questions of people about the plan: what is known at once is said at once, the rest is asked of the advisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import structlog

from scheduler.process.advisor import Advisor
from scheduler.process.answers import job_of
from scheduler.process.live import LabState, LiveJob
from scheduler.process.plan import Plan
from scheduler.process.problem import make_job, seconds, stalled, tick_of
from scheduler.process.reasons import next_unit, reason
from scheduler.services.placement import reply_key

log = structlog.get_logger("octolab.scheduler")

_TIMES = ("now", "start", "until", "finish", "finish_before")
_LENGTHS = ("gain", "cost", "makespan", "makespan_before", "flow", "flow_before")


class Questions:
    """Answers, or has answered, what is asked over Redis."""

    def __init__(self, state: LabState, plan: Plan, advisor: Advisor | None) -> None:
        self.state = state
        self.plan = plan
        self.advisor = advisor
        if advisor is not None:
            advisor.forget()
        self._asks: dict[str, Callable[[dict[str, Any], float], dict[str, Any] | None]] = {
            "why": self._why,
            "what_if": self._what_if,
            "feasible": self._feasible,
        }

    def answer(self, questions: Iterable[dict[str, Any]], now_s: float) -> dict[str, Any]:
        """Return the answers that are known at once, by the lists at which they are awaited."""
        found = {}
        for question in questions:
            asked = self._asks.get(str(question.get("ask")))
            try:
                said = {"error": "the question was not understood"} if asked is None else asked(question, now_s)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("a question was not understood", error=repr(error)[:200])
                said = {"error": "the question was not understood"}
            if said is not None:
                found[reply_key(str(question.get("id")))] = said
        return found

    def advised(self) -> dict[str, Any]:
        """Return what the advisor has said, by the lists at which that is awaited."""
        found = {}
        for said in self.advisor.answers() if self.advisor is not None else ():
            if "error" in said:
                log.warning("the advisor could not answer", error=said["error"])
            found[reply_key(str(said.pop("id", "")))] = in_seconds(said)
        return found

    def _why(self, question: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        job = self.state.jobs.get(str(question["job"]))
        if job is None:
            return {"reason": "unplaced", "thing": ""}
        unit = next_unit(job, question.get("step"))
        if unit is None:
            return {"reason": "under_way" if any(not step.final for step in job.steps) else "over", "thing": ""}
        said = reason(self.state, unit, now_s)
        step = unit.first.id
        if said is None and self.advisor is not None:
            self.advisor.ask({"id": question["id"], "ask": "why", "step": step}, self.plan, now_s)
            return None
        return {"step": unit.first.id, **(said or {"reason": "turn", "thing": ""})}

    def _feasible(self, question: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        if self.advisor is None:
            return {"infeasible": False}
        self.advisor.pass_on({"id": question["id"], "ask": "feasible", "job": question["problem"]})
        return None

    def _what_if(self, question: dict[str, Any], now_s: float) -> dict[str, Any] | None:
        if self.advisor is None:
            return {"error": "this scheduler answers no such questions"}
        row: dict[str, Any] = {"id": question["id"], "ask": "what_if"}
        for name in (*question.get("lose", ()), *(one["like"] for one in question.get("gain", ()))):
            if name not in self.state.devices:
                return {"error": f"there is no device {name}"}
        row |= {name: question[name] for name in ("lose", "gain", "remove") if name in question}
        row["maintenance"] = [
            {
                "device": one["device"],
                "start": tick_of(one["start_lab_s"]),
                "end": None if one.get("end_lab_s") is None else tick_of(one["end_lab_s"]),
            }
            for one in question.get("maintenance", ())
        ]
        row["stuck"] = [job.id for job in self.state.jobs.values() if self._stuck(job)]
        if "job" in question:
            live = job_of(question, now_s)
            self.plan.predictions.study(live)
            job = make_job(self.state, live, tick_of(now_s), set())
            if job is None:
                return {"error": "there is nothing to plan in this job"}
            job = replace(job, release=max(job.release, tick_of(self.plan.opens_s(live))))
            row["add"] = [{"job": job, "entrant": self.plan.shares.entrant(live, now_s)}]
            row["whole"] = self.plan.places_anew(live)
        self.advisor.ask(row, self.plan, now_s)
        return None

    def _stuck(self, job: LiveJob) -> bool:
        """Whether a job waits for a person or a repair, so that its planned times are no more than a placeholder."""
        return any(step.waiting and stalled(self.state, step) for step in job.steps)


def in_seconds(said: dict[str, Any]) -> dict[str, Any]:
    """Return an answer of the advisor with lab seconds instead of ticks."""
    found: dict[str, Any] = {}
    for key, value in said.items():
        if isinstance(value, list):
            found[key] = [in_seconds(row) if isinstance(row, dict) else row for row in value]
        elif key == "steps":
            found[key] = {name: in_seconds(span) for name, span in value.items()}
        elif key in _TIMES:
            found[f"{key}_lab_s"] = None if value is None else seconds(value)
        elif key in _LENGTHS:
            found[f"{key}_s"] = None if value is None else seconds(value)
        else:
            found[key] = value
    return found
