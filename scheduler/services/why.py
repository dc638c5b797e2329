"""Why is a job waiting? One sentence, with what would help; others' jobs are named only to those who may see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from octolab.labtime import moment
from scheduler import catalogue
from scheduler.models import Job, Step
from scheduler.services.overdue import overdue_steps
from scheduler.services.placement import ask
from scheduler.states import JOB_FINAL, JobState
from users.models import User

WAIT_S = 1.5
"""How long (real seconds) an answer is waited for."""


@dataclass(frozen=True)
class Remedy:
    """A change that was planned, and what it brings (lab seconds)."""

    change: str
    start_lab_s: float
    gain_s: float
    cost_s: float


@dataclass(frozen=True)
class Why:
    """What a step waits for.

    Attributes
    ----------
    reason
        ``held``, ``paused``, ``awaiting_approval``, ``needs_operator``, ``cancelling``, ``over``, ``under_way``,
        ``overdue`` (runs far longer than expected),
        ``unusable``, ``estop``, ``interrupted``, ``silent``, ``changed``, ``stock``, ``retry``, ``human``,
        ``value`` (of another job), ``question`` (to a person), ``unplaced``; of the plan: ``device``, ``resource``,
        ``maintenance``, ``predecessor``, ``release``, ``turn``, ``now``; ``unknown`` if the scheduler does not answer.
    thing
        The device, place, stock or module.
    holder
        The job that has it, for those who may see that.
    busy
        Whether another job has it, seen or not.
    """

    reason: str
    sentence: str
    step: str = ""
    step_name: str = ""
    thing: str = ""
    holder: dict[str, str] | None = None
    busy: bool = False
    start_lab_s: float | None = None
    until_lab_s: float | None = None
    remedies: list[Remedy] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether it waits at all."""
        return self.reason not in ("over", "under_way", "now")


def at_once(job: Job) -> Why | None:
    """Return the reason, if the job's state says everything."""
    said = f": {job.state_reason.rstrip('.')}" if job.state_reason else ""
    sentences = {
        JobState.AWAITING_APPROVAL: f"An operator has to approve the job before it is planned{said}.",
        JobState.HELD: f"The job is held{said}. Release it and it goes on.",
        JobState.PAUSED: f"The job is paused{said}. Resume it and it goes on.",
        JobState.CANCELLING: "The job is being ended; what ran is cleaned up first.",
        JobState.NEEDS_OPERATOR: f"The job waits for an operator{said}.",
    }
    if job.state in JOB_FINAL:
        return Why("over", f"The job is {job.state}; nothing of it waits.")
    if late := overdue_steps(job):
        return _overdue(late[0])
    sentence = sentences.get(JobState(job.state))
    return None if sentence is None else Why(str(job.state), sentence)


def _overdue(step: Step) -> Why:
    devices = " and ".join(catalogue.current().title(name) for name, mode in step.devices.items() if mode == "use")
    return Why(
        "overdue",
        f"{_step_title(step)} has run since {_clock(step.started_lab_s)}, far longer than expected: look at {devices}. "
        "Abort ends it at its next safe point; where it reaches none, an operator restarts its host.",
        str(step.pk),
        f"{step.task_name} · {step.name}",
    )


def ask_scheduler(job_id: UUID, step_id: UUID | None = None) -> dict[str, Any] | None:
    """Ask the scheduler; None if it does not answer in time. Blocks, but needs no database."""
    question = {"ask": "why", "job": str(job_id)}
    return ask(question | ({} if step_id is None else {"step": str(step_id)}), WAIT_S)


def explained(user: User, job: Job, said: dict[str, Any] | None) -> Why:
    """Put the scheduler's answer into words, as one user may hear them."""
    if said is None or "error" in said:
        return Why("unknown", "The scheduler does not answer at the moment. Ask again soon.")
    reason = "now" if said["reason"] == "nothing" and not _ahead(said) else str(said["reason"])
    reason = "turn" if reason == "nothing" else reason
    step = Step.objects.filter(pk=said["step"], job=job).first() if said.get("step") else None
    name = _step_title(step) if step is not None else "The job"
    thing = str(said.get("thing") or "").removeprefix("place ")
    holder, busy = _holder(user, job, said)
    why = Why(
        reason,
        "",
        str(said.get("step") or ""),
        f"{step.task_name} · {step.name}" if step is not None else "",
        thing,
        holder,
        busy,
        said.get("start_lab_s"),
        said.get("until_lab_s"),
        [Remedy(_change(row, thing, holder), row["start_lab_s"], row["gain_s"], row["cost_s"])
         for row in said.get("remedies", ())],
    )  # fmt: skip
    return Why(**{**vars(why), "sentence": _sentence(why, name, said)})


def _ahead(said: dict[str, Any]) -> bool:
    return bool(said.get("start_lab_s") is not None and said["start_lab_s"] > said.get("now_lab_s", float("inf")))


def _holder(user: User, job: Job, said: dict[str, Any]) -> tuple[dict[str, str] | None, bool]:
    holder = said.get("holder_job") or ""
    if not holder or holder == str(job.pk):
        return None, False
    found = Job.objects.visible_to(user).filter(pk=holder).only("id", "name").first()
    if found is None:
        found = Job.objects.filter(pk=holder, project__shows_names=True).only("id", "name").first()
        return (None if found is None else {"job": "", "name": found.name}), True
    return {"job": str(found.pk), "name": found.name}, True


def _step_title(step: Step) -> str:
    title = catalogue.current().task_title(step.module, step.task_name)
    return f"“{title}”" if step.name == step.task_name else f"“{title}: {step.name.replace('_', ' ')}”"


def _change(row: dict[str, Any], thing: str, holder: dict[str, str] | None) -> str:
    match row["kind"]:
        case "without":
            return f"without job “{holder['name']}”" if holder else "without that job"
        case "open":
            return f"if {catalogue.current().title(thing)} were available"
    return "if it went first"


def _sentence(why: Why, name: str, said: dict[str, Any]) -> str:
    who = f"job “{why.holder['name']}”" if why.holder else "another user's job"
    text = f" ({said['text']})" if said.get("text") else ""
    thing = catalogue.current().title(why.thing) if why.thing else ""
    trouble = _TROUBLES.get(said.get("kind", ""), "which cannot be used")
    until = f" until {_clock(why.until_lab_s)}" if why.until_lab_s is not None else ""
    sentences = {
        "over": f"{name} does not wait: it is over.",
        "dormant": f"{name} is clean-up; it is done only if it is called for.",
        "under_way": f"{name} does not wait: it is under way.",
        "interrupted": f"{name} was interrupted; an operator has to decide what became of it.",
        "estop": f"{name} waits because of an emergency stop of {thing}; an operator has to re-arm it.",
        "unusable": f"{name} waits for {thing}, {trouble}{text}.",
        "silent": f"{name} waits for the host of module {thing}, which does not answer.",
        "changed": f"{name} waits: module {thing} is another one now than the job was accepted for.",
        "stock": f"{name} waits for {thing}: {said.get('needs', 0):g} are needed and {said.get('level', 0):g} are "
                 "there. An operator has to refill it.",
        "retry": f"{name} is tried again{until}{text}.",
        "human": f"{name} waits for {thing or 'a person'}"
        + (f", who is off duty{until}." if why.until_lab_s is not None else ", who has been asked."),
        "value": f"{name} waits for a value of another job{text}.",
        "question": f"{name} waits for somebody's decision{text}.",
        "unplaced": "The scheduler has not placed the job yet.",
        "device": f"{name} waits for {thing}, which {who} has{until}.",
        "resource": f"{name} waits for a place of {thing}, which {who} holds{until}.",
        "maintenance": f"{name} waits for {thing}, which is not available{until}.",
        "predecessor": f"{name} waits for an earlier step of its own job{until}.",
        "release": f"{name} is not to start{until.replace(' until', ' before')}.",
        "turn": f"{name} is planned for {_clock(why.start_lab_s)}: what follows it would not fit earlier.",
        "now": f"{name} can start now.",
    }  # fmt: skip
    sentence = sentences.get(why.reason, f"{name} waits.")
    if why.reason in ("device", "resource") and not why.busy:
        sentence = sentence.replace(who, "an earlier step of its own")
    if why.remedies:
        best = why.remedies[0]
        sentence = f"{sentence[:-1]}; {best.change} it would start {say(best.gain_s)} earlier"
        sentence += f", and others would finish {say(best.cost_s)} later in all." if best.cost_s else "."
    return sentence


_TROUBLES = {
    "estop": "which is in emergency stop",
    "interrupted": "which an interrupted step has left; an operator has to decide",
    "interlock": "which an interlock blocks",
    "quarantine": "which is in quarantine until an operator has looked at it",
    "maintenance": "which is locked for maintenance",
    "offline": "whose host does not answer",
    "error": "which is in error",
    "unknown": "of which nobody knows the state",
}


def _clock(lab_s: float | None) -> str:
    shown = moment(lab_s)
    if shown is None:
        return "later"
    at = shown["at"]
    return (
        f"{lab_s:.0f} s of lab time"
        if at is None
        else f"{at.astimezone(ZoneInfo(catalogue.current().lab.timezone)):%H:%M:%S %Z}"
    )


def say(seconds: float) -> str:
    """Write a length of time for a person."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"
