"""Windows that are broken where the job says ``on_breach: ask``: the step waits for an operator's decision."""

from __future__ import annotations

from collections.abc import Callable

from scheduler.events import Happening
from scheduler.models import Request
from scheduler.process.control import JobControl, RefusedError
from scheduler.process.flow import Flow
from scheduler.process.grants import late_s
from scheduler.process.live import LiveStep, Unit

DECISIONS = ("continue", "skip", "abort")


class Breaches:
    """Asks operators before a step starts too late, and does what they decide."""

    def __init__(self, flow: Flow, control: JobControl) -> None:
        self.flow = flow
        self.control = control
        self.verbs: dict[str, Callable[[Request], None]] = {"settle": self._settle}
        self._found: dict[str, Unit] = {}

    def note(self, unit: Unit) -> None:
        """Note a unit whose window is broken; it is asked about in the turn, which writes it down."""
        self._found[unit.id] = unit

    def ask_all(self) -> None:
        """Ask about what was noted."""
        found, self._found = list(self._found.values()), {}
        for unit in found:
            if unit.waiting:
                self._ask(unit)

    def _ask(self, unit: Unit) -> None:
        """Let a unit wait for a decision."""
        flow, step = self.flow, unit.first
        need, late = late_s(unit, flow.state, flow.now_s)
        if need is None or step.question is not None:
            return
        before = flow.state.steps[need.step]
        text = (
            f"{step.task_name} would start {late:.0f} s or more too late: it had to begin within {need.max_s:g} s of "
            f"{before.task_name}"
        )
        step.question = {
            "what": "breach", "late_s": round(late, 3), "within_s": need.max_s, "after": before.id, "text": text,
        }  # fmt: skip
        step.reason = text
        flow.changes.touch(step)
        flow.changes.happened(
            Happening("step", step.id, step.job.id, step.job.project_id, step.state, step.state, reason=text,
                      data={"question": step.question})
        )  # fmt: skip
        flow.plan.mark_stale()
        flow.failures.need_operator(unit.job, f"{text}. Continue, skip the sample, or abort the job?")

    def _settle(self, request: Request) -> None:
        step = self.flow.state.steps.get(str(request.payload.get("step")))
        decision, note = request.payload.get("decision"), str(request.payload.get("note") or "").strip()
        if step is None or not step.asks or step.question is None:
            raise RefusedError("nothing is asked about this step any more")
        if decision not in DECISIONS:
            raise RefusedError(f"a decision is {', '.join(DECISIONS)}")
        actor, flow = request.actor.get_username(), self.flow
        step.question = {**step.question, "answer": decision, "by": actor, "note": note}
        flow.changes.touch(step)
        flow.changes.happened(
            Happening("step", step.id, step.job.id, step.job.project_id, step.state, step.state, actor,
                      f"decided: {decision}{': ' if note else ''}{note}", {"question": step.question})
        )  # fmt: skip
        self._no_longer_asked(step, actor)
        flow.plan.mark_stale()
        flow.plan.wanted = True
        if decision == "continue":
            step.reason = ""
            flow.grants.wake(step.unit)
        elif decision == "skip":
            for member in list(step.alive):
                flow.failures.lose(member.sample, f"skipped by {actor}: {step.reason}", actor=actor)
        else:
            self.control.end(step.job, "abort", actor, note or step.reason)

    def _no_longer_asked(self, step: LiveStep, actor: str) -> None:
        self.flow.failures.done(step.job, actor)
