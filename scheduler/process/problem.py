"""The live state as a planning problem: what runs is fixed, what waits is to be placed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from scheduler.planning.problem import (
    Blocked,
    Device,
    Fixed,
    FixedState,
    Hold,
    Job,
    Lag,
    Mode,
    Outage,
    Problem,
    Resource,
    Setting,
    Step,
    Task,
    Use,
)
from scheduler.process.cycles import with_cycles
from scheduler.process.equipment import LiveDevice
from scheduler.process.grants import void
from scheduler.process.live import LabState, LiveJob, LiveSample, LiveStep, Unit
from scheduler.states import StepState

TICK_S = 0.05
"""Lab seconds of one tick."""
STALL_S = 3600.0
"""How far ahead work is planned that waits for a person or a repair; moved on as time passes."""


def ticks(seconds: float) -> int:
    """Turn a duration into ticks, rounded up."""
    return math.ceil(seconds / TICK_S - 1e-9)


def tick_of(lab_s: float) -> int:
    """Return the tick that contains a lab time."""
    return math.floor(lab_s / TICK_S + 1e-9)


def seconds(tick: int) -> float:
    """Return the lab time of a tick."""
    return tick * TICK_S


def place_id(resource: str) -> str:
    """Return a resource's id in the problem: in the lab, a device may have the same id."""
    return f"place {resource}"


def stalled(state: LabState, step: LiveStep) -> bool:
    """Tell whether a waiting step cannot start until a person or a host has done something."""
    if not step.unit.schedulable or step.asks or step.unit.awaits:
        return True
    if step.standby:
        return False
    devices = (state.devices.get(name) for name in step.devices)
    if any(device is None or not device.usable for device in devices):
        return True
    if "lab" in state.estopped or step.module in state.estopped:
        return True
    if step.consumes and state.short_of(step):
        return True
    return state.manifests.get(step.module) != step.job.manifests.get(step.module)


def make_problem(state: LabState, now_s: float, more: Iterable[LiveJob] = ()) -> Problem:
    """Make the problem of everything that is not final, and of jobs that are not (yet) part of the live state."""
    now = tick_of(now_s)
    fixed: list[Fixed] = []
    jobs = []
    covered: set[tuple[str | None, str]] = set()
    everything = [*state.jobs.values(), *more]
    for live in everything:
        job = make_job(state, live, now, covered)
        if job is not None:
            jobs.append(job)
            for unit in live.units:
                fixed.extend(_fixed(unit, now))
    return Problem(
        jobs=tuple(jobs),
        devices=tuple(_devices(state, everything, now)),
        resources=tuple(_resources(state, covered, now)),
        fixed=tuple(fixed),
        now=now,
        tick=TICK_S,
    )


def make_job(state: LabState, live: LiveJob, now: int, covered: set[tuple[str | None, str]]) -> Job | None:
    """Make a job of the problem, or return None if nothing of it is left to plan.

    ``covered`` collects which (sample, resource) pairs are held by a hold of the problem.
    """
    steps = [step for step in live.steps if _planned(step)]
    if not any(not step.final for step in steps):
        return None
    known = {step.id for step in steps}
    job = Job(
        id=live.id,
        tasks=tuple(Task(step.id, (_step(state, step, now),), step.module) for step in steps),
        lags=tuple(_lags(steps)),
        holds=tuple(_known_holds(state, live, known, covered)),
        settings=tuple(item for sample in live.samples for item in _settings(sample, known)),
        user=live.owner_id,
        project=live.project_id,
        weight=live.plan_weight,
        release=tick_of(live.submitted_s),
    )
    return with_cycles(job, live.expects) if live.expects and live.how == "" else job


def _planned(step: LiveStep) -> bool:
    """Whether a step is part of the problem: to be done, under way, or done well or badly."""
    return not step.dormant and step.state not in (StepState.SKIPPED, StepState.CANCELLED)


def _stands(step: LiveStep) -> bool:
    return _planned(step) and not step.waiting


def duration(step: LiveStep) -> int:
    """Return the planned length in ticks: a step that uses devices lasts at least one."""
    length_s = step.duration_s if step.learnt_s is None else step.learnt_s
    return max(ticks(length_s), 0 if step.standby else 1)


def _step(state: LabState, step: LiveStep, now: int) -> Step:
    earliest = now + ticks(STALL_S) if step.waiting and stalled(state, step) else 0
    length, drawn = duration(step), step.drawn
    if drawn is None or drawn.earliest != earliest or drawn.modes[0].duration != length:
        # A block is one claim: what any of its steps uses is taken from its beginning to its end.
        devices = step.devices if step.standby else step.unit.devices
        uses = tuple(Use(device, mode == "still") for device, mode in devices.items())
        drawn = step.drawn = Step(step.id, (Mode(length, uses),), earliest=earliest)
    return drawn


def _fixed(unit: Unit, now: int) -> Iterator[Fixed]:
    """Yield where the steps of a unit stand that has been begun: those of a block follow each other."""
    at: int | None = None
    for step in unit.steps:
        if not _stands(step):
            continue
        if step.final:
            end = min(now, tick_of(step.ended_s or 0.0))
            start = end if step.started_s is None else min(end, tick_of(step.started_s))
            yield Fixed(step.id, start, end, 0, "completed")
            at = end
            continue
        if at is None:
            at = min(now, now if step.started_s is None else tick_of(step.started_s))
        if step.state == StepState.INTERRUPTED:
            yield Fixed(step.id, min(at, now), now + ticks(STALL_S))
            continue
        end = at + duration(step)
        if step is unit.steps[-1]:
            end = max(end, now + 1)
        # Of a block the host tells only the beginning and the end.
        state: FixedState = "completed" if end <= now else "frozen" if at > now else "running"
        yield Fixed(step.id, at, end, 0, state)
        at = end


def _lags(steps: list[LiveStep]) -> Iterator[Lag]:
    known = {step.id: step for step in steps}
    for step in steps:
        for need in step.needs:
            before = known.get(need.step)
            if before is None or void(need, before, step.unit):
                continue
            longest = None if need.max_s is None else max(ticks(need.max_s), ticks(need.min_s))
            yield Lag(need.step, step.id, min=ticks(need.min_s), max=longest)
        members = step.unit.steps
        at = members.index(step)
        if at and members[at - 1].id in known:
            yield Lag(members[at - 1].id, step.id, min=0, max=0)


def _known_holds(
    state: LabState, live: LiveJob, known: set[str], covered: set[tuple[str | None, str]]
) -> Iterator[Hold]:
    """Yield the holds of places that exist; the places of a module that never said what it has come later."""
    known_places = {place_id(resource) for resource in state.places.held}
    for sample in live.samples:
        for hold in _holds(sample, known, covered):
            if hold.resource in known_places:
                yield hold


def _holds(sample: LiveSample, known: set[str], covered: set[tuple[str | None, str]]) -> Iterator[Hold]:
    opened: dict[str, LiveStep] = {}
    steps = [step for step in sample.steps if step.id in known]
    for step in steps:
        for resource in step.takes:
            opened.setdefault(resource, step)
        for resource in step.frees:
            # A sample that came with its place has no step that took it.
            first = opened.pop(resource, None) or steps[0]
            covered.add((sample.id, resource))
            yield Hold(place_id(resource), first.id, step.id)
    for resource, first in opened.items():
        if not steps[-1].final:
            covered.add((sample.id, resource))
            yield Hold(place_id(resource), first.id, steps[-1].id)


def _settings(sample: LiveSample, known: set[str]) -> Iterator[Setting]:
    spans: dict[str, tuple[str, str, str]] = {}
    for step in sample.steps:
        if step.id not in known:
            continue
        for key, value in step.settings.items():
            span = spans.get(key)
            if span is not None and span[0] == str(value):
                spans[key] = (span[0], span[1], step.id)
                continue
            if span is not None:
                yield Setting(key, *span)
            spans[key] = (str(value), step.id, step.id)
    for key, span in spans.items():
        yield Setting(key, *span)


def _devices(state: LabState, jobs: list[LiveJob], now: int) -> Iterator[Device]:
    for device in state.devices.values():
        yield Device(device.id, blocked=tuple(_blocked(state, device, now)))
    for key in setting_keys(jobs):
        yield Device(key)


def _blocked(state: LabState, device: LiveDevice, now: int) -> Iterator[Blocked]:
    """Yield when a device is away: as long as nobody has repaired it, and when a person is off duty. None overlap."""
    after = now
    if not device.usable:
        after = now + ticks(STALL_S)
        yield Blocked(now, after, device.state)
    for shut_s, opens_s in state.duty.closed(device.id, seconds(now)):
        start, end = max(after, tick_of(shut_s)), ticks(opens_s)
        if start < end:
            yield Blocked(start, end, "off duty")


def setting_keys(jobs: Iterable[LiveJob]) -> set[str]:
    """Return all ``device.setting`` keys that steps of these jobs name."""
    return {key for job in jobs for step in job.steps for key in step.settings}


def _resources(state: LabState, covered: set[tuple[str | None, str]], now: int) -> Iterator[Resource]:
    for resource, places in state.places.held.items():
        lost = sum(sample is not None and (sample, resource) not in covered for sample in places.values())
        # Nobody knows when it will be collected.
        outages = (Outage(now, now + ticks(STALL_S), lost),) if lost else ()
        yield Resource(place_id(resource), len(places), outages)
