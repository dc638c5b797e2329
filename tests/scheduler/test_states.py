"""The state machine: every (state, event) pair is either in the table or refused, and reaches an end."""

from __future__ import annotations

import itertools

import pytest

from scheduler.process.changes import Changes, ForbiddenTransitionError
from scheduler.process.live import LiveJob, LiveSample, LiveStep
from scheduler.process.load import make_units
from scheduler.services.verbs import JOB_VERBS
from scheduler.states import (
    JOB_FINAL,
    JOB_TRANSITIONS,
    SAMPLE_FINAL,
    SAMPLE_TRANSITIONS,
    STEP_FINAL,
    STEP_TRANSITIONS,
    JobState,
    SampleState,
    StepState,
)

MACHINES = {
    "job": (JobState, JOB_TRANSITIONS, JOB_FINAL),
    "sample": (SampleState, SAMPLE_TRANSITIONS, SAMPLE_FINAL),
    "step": (StepState, STEP_TRANSITIONS, STEP_FINAL),
}
PAIRS = [
    (kind, one, two) for kind, (states, _, _) in MACHINES.items() for one, two in itertools.product(states, states)
]


def make(kind: str, state: str) -> tuple[LiveJob, object]:
    job = LiveJob(
        "j", "job", "p", "o", "ada", JobState.QUEUED, JobState.QUEUED, "", 0, None, True, 0, {}, 0.0, None, None, None,
        None, None, 1, 0, 1, 0, True,
    )  # fmt: skip
    sample = LiveSample("s", job)
    step = LiveStep(
        "t", job, 0, "a", "bench", "work", "run", False, "t", StepState.WAITING, "", 0, {}, [], [], {}, {}, None, [],
        1.0, None, None, None, None, None, None, None,
    )  # fmt: skip
    job.samples, job.steps = [sample], [step]
    make_units(job)
    thing = {"job": job, "sample": sample, "step": step}[kind]
    thing.state = state
    return job, thing


@pytest.mark.parametrize(("kind", "one", "two"), PAIRS)
def test_every_pair_is_allowed_by_the_table_or_refused(kind: str, one: str, two: str) -> None:
    _, thing = make(kind, one)
    changes = Changes(5.0)
    change = getattr(changes, kind)
    if two in MACHINES[kind][1].get(one, frozenset()):
        change(thing, two, "why", actor="ada")
        (event,) = changes.happenings
        assert (event.kind, event.state_from, event.state_to, event.actor, event.reason) == (
            kind,
            one,
            two,
            "ada",
            "why",
        )
        assert thing.state == two  # type: ignore[attr-defined]
        assert getattr(changes, f"{kind}s")
    else:
        with pytest.raises(ForbiddenTransitionError):
            change(thing, two)
        assert thing.state == one  # type: ignore[attr-defined]
        assert changes.empty


@pytest.mark.parametrize("kind", MACHINES)
def test_what_is_final_stays_and_everything_else_can_end(kind: str) -> None:
    states, table, final = MACHINES[kind]
    for state in states:
        if state in final:
            assert not table.get(state)
            continue
        reached = {state}
        for _ in states:
            reached |= {two for one in reached for two in table.get(one, ())}
        assert reached & final, state


def test_every_open_state_of_a_job_says_what_may_be_asked_for() -> None:
    assert set(JOB_VERBS) == set(JobState) - JOB_FINAL
