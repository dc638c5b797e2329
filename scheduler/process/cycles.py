"""Closed loops: the next cycles' samples are not known yet, but that they will come is.

A job that says how many more like it will follow is planned with as many placeholders behind it, each a copy of its
steps. They occupy devices and places in the plan, so that others see honest times; nothing is ever ordered for them,
and work that is really there goes before them whenever it can.
"""

from __future__ import annotations

from dataclasses import replace

from scheduler.planning.problem import Job, Lag, Step, Task

_MARK = "+"


def is_placeholder(step: str) -> bool:
    """Tell whether a step of the problem is only expected."""
    return _MARK in step


def cycle_of(step: str) -> int:
    """Return which of the next cycles a placeholder belongs to, from 1."""
    return int(step.rpartition(_MARK)[2])


def original(step: str) -> str:
    """Return the step of which a placeholder is a copy."""
    return step.rpartition(_MARK)[0]


def with_cycles(job: Job, count: int) -> Job:
    """Return the job with so many further cycles of its steps, each behind the one before."""
    first_ids = {lag.second for lag in job.lags if lag.min is not None}
    last_ids = {lag.first for lag in job.lags if lag.min is not None}
    names = [step.id for step in job.steps()]
    heads = [name for name in names if name not in first_ids]
    tails = [name for name in names if name not in last_ids]
    tasks, lags, holds, settings = list(job.tasks), list(job.lags), list(job.holds), list(job.settings)
    before = ""
    for cycle in range(1, count + 1):
        mark = f"{_MARK}{cycle}"
        tasks.extend(_copy(task, mark) for task in job.tasks)
        lags.extend(replace(lag, first=lag.first + mark, second=lag.second + mark) for lag in job.lags)
        holds.extend(replace(hold, first=hold.first + mark, last=hold.last + mark) for hold in job.holds)
        settings.extend(replace(one, first=one.first + mark, last=one.last + mark) for one in job.settings)
        lags.extend(Lag(tail + before, head + mark, min=0) for tail in tails for head in heads)
        before = mark
    return replace(job, tasks=tuple(tasks), lags=tuple(lags), holds=tuple(holds), settings=tuple(settings))


def _copy(task: Task, mark: str) -> Task:
    steps: tuple[Step, ...] = tuple(replace(step, id=step.id + mark, earliest=0) for step in task.steps)
    return replace(task, id=task.id + mark, steps=steps)
