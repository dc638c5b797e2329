"""Human steps: a person is asked, and what they answer closes the attempt in their name.

No host has anything to do with them. The attempt's record is what decides here too: it is inserted once, by an answer
or by a withdrawal, so an answer that came first counts whatever happens to this process afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from analysis.answers import Asked, documents_of
from modules.contract.lab import Lab
from modules.contract.messages import Attempt, Outcome
from notifications.outbox import Question, tell_people
from scheduler.models import Event, Request
from scheduler.process.attempts import Attempts
from scheduler.process.control import RefusedError
from scheduler.process.duty import Duty
from scheduler.process.flow import Flow
from scheduler.process.live import LiveMember, Unit
from scheduler.states import DeviceState, StepState


class People:
    """Asks people, and takes their answers."""

    def __init__(self, flow: Flow, attempts: Attempts) -> None:
        self.flow = flow
        self.attempts = attempts
        self.verbs: dict[str, Callable[[Request], None]] = {"answer": self._answer}

    def load(self, lab: Lab, clock: Any) -> None:
        """Tell the live state who is a person, and when people may be asked."""
        state = self.flow.state
        state.duty = Duty(lab.duty, getattr(clock, "datetime", None))
        for name in state.duty.people & state.devices.keys():
            state.devices[name].person = True
            state.devices[name].host_says = DeviceState.IDLE

    def ask(self, unit: Unit) -> None:
        """Tell those who may answer that somebody is asked for."""
        task = self.attempts.manifests.title(unit.job, unit.first.module, unit.first.task_name)
        samples = [member.sample.name for member in unit.first.alive if member.sample.id is not None]
        question = Question(unit.id, unit.job.id, unit.first.module, task, tuple(samples))
        self.flow.changes.writes.append(partial(tell_people, question))

    def _answer(self, request: Request) -> None:
        step = self.flow.state.steps.get(str(request.payload.get("step")))
        attempt_id = str(request.payload.get("attempt"))
        if step is None or step.unit.state != StepState.DISPATCHED or step.unit.attempt_id != attempt_id:
            if _same_was_applied(request) or self._counts(attempt_id, request):
                return
            raise RefusedError("nobody is asked for this any more: it was answered, or taken back")
        unit, who = step.unit, request.actor.get_username()
        record, asked = self._closing(unit, request, who)
        won = self.attempts.bench.close_by_hand(
            {"_id": unit.attempt_id, **record.model_dump(mode="json"), "by": who},
            [document for one in asked for document in documents_of(one)],
        )
        if not won:
            raise RefusedError("nobody is asked for this any more: it was answered, or taken back")
        self.attempts.take_in(unit, record.model_dump(mode="json"))

    def _counts(self, attempt_id: str, request: Request) -> bool:
        """Tell whether the attempt was closed by this very answer, and an earlier scheduler died before it said so."""
        record = self.attempts.bench.attempts([attempt_id]).get(attempt_id)
        return record is not None and record.get("nonce") == str(request.pk)

    def _closing(self, unit: Unit, request: Request, who: str) -> tuple[Attempt, list[Asked]]:
        payload, now_s = request.payload, self.flow.now_s
        values: Mapping[str, Any] = payload.get("values") or {}
        note = str(payload.get("note") or "")
        cannot = bool(payload.get("cannot"))
        error = f"cannot be done, says {who}{': ' if note else ''}{note}" if cannot else ""
        asked_s = self._asked_s(unit)
        common: dict[str, Any] = {
            "attempt_id": unit.attempt_id,
            "module": unit.first.module,
            "step_ids": tuple(step.id for step in unit.steps),
        }
        outcomes = tuple(
            Outcome(
                task_id=member.task.id, sample_id=member.sample.id, ok=not cannot, run_uid=str(member.run_uid),
                results={name: entry["value"] for name, entry in values.items()}, error=error,
            )
            for member in unit.first.alive
        )  # fmt: skip
        record = Attempt(
            **common,
            state="failed" if cannot else "completed",
            nonce=str(request.pk),
            claimed_lab_s=now_s,
            started_lab_s=asked_s,
            ended_lab_s=now_s,
            step_ends_lab_s={} if cannot else {step.id: now_s for step in unit.steps},
            # Who cannot do it has done nothing.
            touched=not cannot,
            outcomes=outcomes,
            error=error,
            reason=f"answered by {who}",
        )
        made_at = request.made_at or datetime.now(UTC)
        asked = [
            Asked(
                run=self._run_of(unit, member), by=who, note=note, error=error, values=values, asked_lab_s=asked_s,
                answered_lab_s=now_s, answered_at_s=made_at.timestamp(), stream=unit.steps[-1].name,
            )
            for member in unit.first.alive
        ]  # fmt: skip
        return record, asked

    def _run_of(self, unit: Unit, member: LiveMember) -> dict[str, Any]:
        """Return what every document of a run says about where it belongs."""
        job, first = unit.job, unit.first
        return {
            "uid": str(member.run_uid), "owner": job.owner, "project": job.project_id, "project_id": job.project_id,
            "job_id": job.id, "job_name": job.name, "sample": member.sample.name, "sample_id": member.sample.id,
            "task": first.task_name, "task_id": member.task.id, "module": first.module,
            "manifest_hash": job.manifests.get(first.module, ""), "attempt_id": unit.attempt_id,
            "attempt": first.attempt, "step_ids": [step.id for step in unit.steps],
            "parameters": member.task.parameters, "origins": member.task.origins,
            "places": dict(member.sample.places), "simulated": job.simulated,
        }  # fmt: skip

    def _asked_s(self, unit: Unit) -> float:
        """Return the lab time at which somebody was asked: the event log knows it, however often we were restarted."""
        asked = Event.objects.filter(
            kind="step", subject=unit.first.id, state_to=StepState.DISPATCHED, data__attempt=unit.first.attempt
        )
        found = asked.order_by("-seq").values_list("lab_s", flat=True).first()
        return self.flow.now_s if found is None else found


def _same_was_applied(request: Request) -> bool:
    """Tell whether this person has given the very same answer before, and it was taken."""
    earlier = Request.objects.filter(verb="answer", actor=request.actor, job=request.job, refused="")
    return any(row.payload == request.payload for row in earlier.exclude(applied_at=None).exclude(pk=request.pk))
