"""The checker finds what it is there to find: each promise is broken in good evidence, by doctoring one thing."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from . import invariants
from .evidence import Evidence, Row
from .invariants import Violation, check

JOB, SAMPLE, OTHER_SAMPLE, TASK = "job-1", "sample-1", "sample-2", "task-1"
ENTER, WORK, AGAIN = "step-enter", "step-work", "step-again"


def step(name: str, action: str, devices: dict[str, str], *, takes: bool = False, attempt: int = 1) -> Row:
    return {
        **{"id": name, "job_id": JOB, "block": name, "name": name, "module": "left", "action": action},
        **{"state": "completed", "attempt": attempt, "devices": devices, "frees": []},
        "takes": ["left.slot"] if takes else [],
        "adds": None,
    }


def attempt(name: str, began_s: float, ended_s: float, state: str = "completed", *, touched: bool = True) -> Row:
    run = {"task_id": TASK, "sample_id": SAMPLE, "run_uid": f"run {name}", "arrays": {}}
    return {
        **{"_id": name, "state": state, "step_ids": [name.partition("/")[0]], "claimed_lab_s": began_s},
        **{"started_lab_s": began_s, "ended_lab_s": ended_s, "touched": touched, "outcomes": [run], "host": "left"},
    }


def run_start(name: str, began_s: float, sample: str = SAMPLE) -> Row:
    return {
        **{"uid": f"run {name}", "attempt_id": name, "task_id": TASK, "sample_id": sample, "lab_s": began_s},
        **{"module": "left", "places": {"slot": 0}, "step_ids": [name.partition("/")[0]]},
    }


def command(device: str, number: int, lab_s: float, verb: str = "RUN") -> Row:
    text = f"{number} {verb} {device} 10"
    return {
        **{"kind": "command", "instrument": device, "text": text, "verb": verb, "accepted": True, "moves": True},
        "lab_s": lab_s,
    }


@pytest.fixture
def good() -> Evidence:
    """One job: enter a slot; work with left_1, interrupted and repeated by an operator; work with left_1 again."""
    moves = [
        *(("job", JOB, "queued", "running", 9), ("sample", SAMPLE, "planned", "active", 9)),
        *((("step", ENTER, a, b, 10) for a, b in (("waiting", "granted"), ("granted", "dispatched")))),
        ("step", ENTER, "dispatched", "completed", 12),
        *(("step", WORK, "waiting", "granted", 20), ("step", WORK, "granted", "dispatched", 20)),
        *(("step", WORK, "dispatched", "running", 21), ("step", WORK, "running", "interrupted", 30)),
        ("job", JOB, "running", "needs_operator", 30),
        *(("request", "request-1", "", "applied", 35), ("job", JOB, "needs_operator", "running", 35)),
        *(("step", WORK, "interrupted", "waiting", 35), ("step", WORK, "waiting", "granted", 40)),
        *(("step", WORK, "granted", "dispatched", 40), ("step", WORK, "dispatched", "completed", 50)),
        *(("step", AGAIN, "waiting", "granted", 60), ("step", AGAIN, "granted", "dispatched", 60)),
        ("step", AGAIN, "dispatched", "completed", 70),
        *(("sample", SAMPLE, "active", "completed", 70), ("job", JOB, "running", "completed", 70)),
    ]
    file = {"file": "raw/a.nxs", "sha256": "abc", "bytes": 7, "path": "entry"}
    attempts = [
        attempt(f"{ENTER}/1", 10, 11),
        attempt(f"{WORK}/1", 20, 30, "interrupted"),
        attempt(f"{WORK}/2", 40, 49),
        attempt(f"{AGAIN}/1", 60, 69),
    ]
    attempts[-1]["outcomes"][0]["arrays"]["spectrum"] = file
    return Evidence(
        accepted=[{"id": JOB, "name": "a", "samples": [SAMPLE], "steps": [ENTER, WORK, AGAIN]}],
        jobs=[{"id": JOB, "name": "a", "state": "completed"}],
        samples=[{"id": SAMPLE, "job_id": JOB, "state": "completed"}],
        steps=[
            step(ENTER, "noop", {}, takes=True),
            step(WORK, "occupy", {"left_1": "use"}, attempt=2),
            step(AGAIN, "occupy", {"left_1": "use"}),
        ],
        events=[
            {"seq": n, "kind": k, "subject": s, "job_id": JOB, "state_from": a, "state_to": b, "lab_s": t, "data": {}}
            for n, (k, s, a, b, t) in enumerate(moves, start=1)
        ],
        requests=[
            {
                **{"id": "request-1", "verb": "decide", "applied_at": "now", "refused": ""},
                "payload": {"decision": "repeat", "step": WORK},
            }
        ],
        notifications=[
            {"id": f"n-{event}", "event": event, "job_id": JOB, "delivered_at": "now", "gave_up_at": None}
            for event in ("needs_operator", "finished")
        ],
        delivered=[{"job_id": JOB, "event": event} for event in ("needs_operator", "finished")],
        attempts=attempts,
        run_starts=[run_start(a["_id"], a["claimed_lab_s"]) for a in attempts],
        run_stops=[
            {"uid": f"stop {a['_id']}", "run_start": f"run {a['_id']}", "lab_s": a["ended_lab_s"]} for a in attempts
        ],
        bench=[command("left_1", 1, 22), command("left_1", 2, 42), command("left_1", 3, 62)],
        files={"raw/a.nxs": {"bytes": 7, "sha256": "abc"}},
        repeat_safe=["left.noop"],
    )


def test_good_evidence_is_good(good: Evidence) -> None:
    assert check(good) == []


def _decided_too_late(e: Evidence) -> None:
    next(event for event in e.events if event["kind"] == "request")["lab_s"] = 45


def _decided_done(e: Evidence) -> None:
    e.requests[0]["payload"]["decision"] = "done"


def _second_user(e: Evidence) -> None:
    e.steps.append(step("step-x", "noop", {"left_1": "use"}))
    e.attempts.append(attempt("step-x/1", 45, 46))
    e.run_starts.append(run_start("step-x/1", 45))
    e.run_stops.append({"uid": "stop x", "run_start": "run step-x/1", "lab_s": 46})


def _granted_twice(e: Evidence) -> None:
    grant = next(event for event in e.events if event["subject"] == AGAIN and event["state_to"] == "granted")
    e.events.remove(grant)
    e.events.insert(5, grant)
    for seq, event in enumerate(e.events, start=1):
        event["seq"] = seq


def _incident(e: Evidence, code: str, lab_s: float) -> None:
    line = {"kind": "incident", "instrument": "left_1", "code": code, "text": "", "lab_s": lab_s}
    e.bench.append(line)


def _twice(e: Evidence, text: str) -> None:
    e.bench += [{**command("left_1", 0, lab_s, "G0"), "text": text} for lab_s in (43, 44)]


def _strokes(e: Evidence, count: int) -> None:
    e.steps[1]["adds"] = {"volume_ul": 2000.0}
    text = r"\x0217V1200IA3000OA0R\x031"
    e.bench += [{**command("left_1", 0, 43 + n, "V"), "text": text} for n in range(count)]


def _without_runs(e: Evidence) -> None:
    e.run_starts.pop()
    e.run_stops.pop()


def _slot_taken_twice(e: Evidence) -> None:
    e.run_starts.append({**run_start("step-enter/1", 25, OTHER_SAMPLE), "uid": "run other"})
    e.run_stops.append({"uid": "stop other", "run_start": "run other", "lab_s": 26})


DOCTORED: dict[str, tuple[int, Callable[[Evidence], Any]]] = {
    "a job vanished": (1, lambda e: e.jobs.clear()),
    "a job never ended": (1, lambda e: e.jobs[0].update(state="running")),
    "a job has another id": (1, lambda e: e.accepted[0].update(id="job-0")),
    "a job exists twice": (1, lambda e: e.jobs.append({**e.jobs[0], "id": "job-2"})),
    "a step has another id": (1, lambda e: e.accepted[0]["steps"].append("step-lost")),
    "a sample vanished": (1, lambda e: e.samples.clear()),
    "a job ended before its steps": (1, lambda e: e.steps[0].update(state="running")),
    "an event is lost": (1, lambda e: e.events.pop(3)),
    "a job has another name": (1, lambda e: e.accepted[0].update(name="b")),
    "a job that nobody was told of": (1, lambda e: e.accepted.clear()),
    "a state that came from nowhere": (1, lambda e: e.events[3].update(state_from="running")),
    "a state that no event tells": (1, lambda e: e.samples[0].update(state="failed")),
    "repeated without a decision": (2, lambda e: e.requests.clear()),
    "repeated before the decision": (2, _decided_too_late),
    "repeated though it was decided to be done": (2, _decided_done),
    "an attempt of no step": (2, lambda e: e.attempts.append(attempt("step-lost/1", 80, 81))),
    "a command sent twice": (2, lambda e: e.bench.append(command("left_1", 2, 43))),
    "a command without a number sent twice": (2, lambda e: _twice(e, "G90 G0 X35.000")),
    "a stroke of a pump too many": (2, lambda e: _strokes(e, 3)),
    "a stroke of a pump too few": (2, lambda e: _strokes(e, 1)),
    "an action done twice": (2, lambda e: e.bench.append(command("left_1", 9, 43))),
    "completed without doing anything": (2, lambda e: e.bench.pop()),
    "completed twice": (2, lambda e: e.attempts[1].update(state="completed")),
    "moved, and says that it did not": (2, lambda e: e.attempts[1].update(touched=False)),
    "a command from nobody": (3, lambda e: e.bench.append(command("left_1", 7, 55))),
    "a command from one who let go": (3, lambda e: e.bench.append(command("left_1", 7, 80))),
    "a command to a device that nobody holds": (3, lambda e: e.bench.append(command("left_2", 7, 43))),
    "a device held by two hosts' attempts": (3, _second_user),
    "a device granted twice": (3, _granted_twice),
    "a slot with two samples": (3, _slot_taken_twice),
    "a collision": (3, lambda e: _incident(e, "collision", 65)),
    "a spill, and nothing had failed": (3, lambda e: _incident(e, "spill", 15)),
    "a run without an end": (4, lambda e: e.run_stops.pop()),
    "a run with two ends": (4, lambda e: e.run_stops.append({**e.run_stops[0], "uid": "stop again"})),
    "a run without a beginning": (4, lambda e: e.run_starts.pop()),
    "a run with two beginnings": (4, lambda e: e.run_starts.append({**e.run_starts[0], "uid": "run again"})),
    "a run of no attempt": (4, lambda e: e.run_starts.append(run_start("step-lost/1", 15))),
    "started without a run": (4, _without_runs),
    "a result of a run that is not there": (4, lambda e: e.attempts[0]["outcomes"][0].update(run_uid="run lost")),
    "a file left unfinished": (4, lambda e: e.files.update({"raw/b.nxs.part": {"bytes": 3, "sha256": "x"}})),
    "an attempt left open": (4, lambda e: e.attempts[0].update(state="running")),
    "a file that is not there": (4, lambda e: e.files.clear()),
    "a file that was changed": (4, lambda e: e.files["raw/a.nxs"].update(sha256="abd")),
    "an unfinished file taken for a result": (
        4,
        lambda e: e.attempts[-1]["outcomes"][0]["arrays"]["spectrum"].update(file="raw/a.nxs.part"),
    ),
    "a message never written": (5, lambda e: e.notifications.pop()),
    "a message written twice": (5, lambda e: e.notifications.append(dict(e.notifications[0]))),
    "a message that never arrived": (5, lambda e: e.delivered.pop()),
    "a message given up": (5, lambda e: e.notifications[0].update(gave_up_at="now")),
}


@pytest.mark.parametrize("name", DOCTORED)
def test_doctored_evidence_is_found(name: str, good: Evidence) -> None:
    invariant, doctor = DOCTORED[name]
    doctored = copy.deepcopy(good)
    doctor(doctored)
    assert invariant in {violation.invariant for violation in check(doctored)}


def test_every_kind_of_violation_has_been_forged(good: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(invariants.__file__).read_text()
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    kinds = {call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Violation"}
    found: set[int] = set()

    def note(*fields: Any) -> invariants.Violation:
        found.add(sys._getframe(1).f_lineno)
        return Violation(*fields)

    monkeypatch.setattr(invariants, "Violation", note)
    for _, doctor in DOCTORED.values():
        doctored = copy.deepcopy(good)
        doctor(doctored)
        check(doctored)
    assert kinds - found == set()
    assert len(kinds) > 30


def test_equal_strokes_of_a_pump_are_no_repetition(good: Evidence) -> None:
    _strokes(good, 2)
    assert check(good) == []


def test_a_withdrawn_attempt_is_no_violation(good: Evidence) -> None:
    withdrawn = {"_id": f"{AGAIN}/1", "state": "withdrawn", "step_ids": [AGAIN], "host": "", "outcomes": []}
    good.attempts[-1]["_id"] = f"{AGAIN}/2"
    good.run_starts[-1]["attempt_id"] = f"{AGAIN}/2"
    good.attempts.append({**withdrawn, "claimed_lab_s": None, "ended_lab_s": None, "touched": False})
    assert check(good) == []


def test_what_waits_in_the_outbox_is_not_lost(good: Evidence) -> None:
    good.notifications[0]["delivered_at"] = None
    good.delivered.pop(0)
    assert check(good) == []


def test_what_is_safe_to_repeat_needs_no_decision(good: Evidence) -> None:
    good.requests.clear()
    good.repeat_safe.append("left.occupy")
    assert check(good) == []


def test_a_command_that_was_not_heard_moved_nothing(good: Evidence) -> None:
    good.bench.append({**command("left_1", 9, 43), "accepted": False})
    good.bench.append({**command("left_1", 10, 43), "executed": False})
    assert check(good) == []
