"""The five promises of octolab, checked from logs and stores alone.

This shares no code with what it checks. Each function returns what it found wrong; :func:`check` returns all.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .evidence import Evidence, Row

FINAL_JOB = {"completed", "failed", "cancelled"}
FINAL_STEP = {"completed", "failed", "aborted", "skipped", "cancelled"}
CLOSED = {"completed", "failed", "aborted", "interrupted", "withdrawn"}
HOLDING = {"granted", "dispatched", "running", "pausing", "paused", "interrupted"}
TOLD = {"completed": "finished", "failed": "failed", "cancelled": "cancelled", "needs_operator": "needs_operator"}
LATE_S = 1.0
"""Real seconds that a command may lie in the instrument's input after its attempt has ended badly."""
STEPS_PER_UL = 3
"""Of the shipped lab's syringe pumps."""
_STROKE = re.compile(r"\\x02\d\dV\d+IA(\d+)OA0R")
_NUMBERED = re.compile(r"#?\d+ [A-Z]+")


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept."""

    invariant: int
    subject: str
    text: str

    def __str__(self) -> str:
        return f"[{self.invariant}] {self.subject}: {self.text}"


def check(evidence: Evidence) -> list[Violation]:
    """Check everything."""
    return [
        *jobs_end(evidence),
        *nothing_twice(evidence),
        *one_owner(evidence),
        *places(evidence),
        *documents(evidence),
        *notifications(evidence),
    ]


# --- 1. every accepted job ends; none vanishes; ids never change -------------------------------------------------


def jobs_end(e: Evidence) -> Iterator[Violation]:
    """Every accepted job is there under its id, with its samples and steps, and final or with an operator."""
    jobs = {job["id"]: job for job in e.jobs}
    parts = {
        "samples": _grouped(e.samples, "job_id", "id"),
        "steps": _grouped(e.steps, "job_id", "id"),
    }
    for told in e.accepted:
        job = jobs.get(told["id"])
        if job is None:
            yield Violation(1, told["id"], "was accepted and has vanished")
            continue
        if job["name"] != told["name"]:
            yield Violation(1, job["id"], f"was {told['name']!r} and is {job['name']!r} now")
        if job["state"] not in FINAL_JOB | {"needs_operator"}:
            yield Violation(1, job["id"], f"never ended: it is {job['state']}")
        for kind, now in parts.items():
            if lost := set(told[kind]) - now[job["id"]]:
                yield Violation(1, job["id"], f"{kind} changed their ids: {sorted(lost)[:3]}")
    for name, count in Counter(job["name"] for job in e.jobs).items():
        if count > 1:
            yield Violation(1, name, f"was accepted once and exists {count} times")
    for job in e.jobs:
        if job["id"] not in {told["id"] for told in e.accepted}:
            yield Violation(1, job["id"], "exists, but nobody was told so")
        if job["state"] in FINAL_JOB and (
            left := [s["id"] for s in e.steps if s["job_id"] == job["id"] and s["state"] in HOLDING]
        ):
            yield Violation(1, job["id"], f"is {job['state']}, but steps go on: {left[:3]}")
    yield from _gapless(e)


def _gapless(e: Evidence) -> Iterator[Violation]:
    seqs = [event["seq"] for event in e.events]
    if seqs != list(range(1, len(seqs) + 1)):
        missing = sorted(set(range(1, max(seqs, default=0) + 1)) - set(seqs))
        yield Violation(1, "events", f"the log has gaps or doubles: {missing[:5]}")
    state: dict[tuple[str, str], str] = {}
    for event in e.events:
        if event["kind"] not in ("job", "step", "sample") or event["state_to"] == "collected":
            continue
        key = event["kind"], event["subject"]
        before = state.get(key, event["state_from"])
        if before != event["state_from"]:
            yield Violation(1, event["subject"], f"went from {event['state_from']}, but had been {before}")
        state[key] = event["state_to"]
    for kind, rows in (("job", e.jobs), ("step", e.steps), ("sample", e.samples)):
        for row in rows:
            logged = state.get((kind, row["id"]), row["state"])
            if logged != row["state"]:
                yield Violation(1, row["id"], f"is {row['state']}, but its last event says {logged}")


# --- 2. nothing is done twice -------------------------------------------------------------------------------------


def nothing_twice(e: Evidence) -> Iterator[Violation]:
    """No command twice for one step without a decision in between; no attempt ran twice."""
    steps = {step["id"]: step for step in e.steps}
    owners = Owners(e)
    commands = owners.commands
    decided = _decisions(e)
    by_step: dict[str, list[Row]] = defaultdict(list)
    for attempt in e.attempts:
        by_step[attempt["_id"].partition("/")[0]].append(attempt)
        if attempt["_id"].partition("/")[0] not in steps:
            yield Violation(2, attempt["_id"], "is an attempt of no step")
    for step_id, attempts in by_step.items():
        attempts.sort(key=lambda attempt: int(attempt["_id"].partition("/")[2]))
        if len(done := [a["_id"] for a in attempts if a["state"] == "completed"]) > 1:
            yield Violation(2, step_id, f"was completed more than once: {done}")
        moved = [a for a in attempts if commands[a["_id"]]]
        for attempt in attempts:
            ordered = [steps[i] for i in attempt["step_ids"] if i in steps]
            yield from _once_in(attempt, commands[attempt["_id"]], ordered)
        step = steps.get(step_id)
        safe = step is not None and all(
            f"{steps[i]['module']}.{steps[i]['action']}" in e.repeat_safe for a in attempts for i in a["step_ids"]
        )
        for first, second in pairwise(moved):
            ended_s, began_s = commands[first["_id"]][-1]["lab_s"], commands[second["_id"]][0]["lab_s"]
            if not safe and not any(ended_s <= s <= began_s for s in decided.get(step_id, ())):
                text = f"{first['_id']} moved something, and {second['_id']} did it again without a decision"
                yield Violation(2, step_id, text)
        for attempt in attempts:
            if not attempt["touched"] and commands[attempt["_id"]]:
                yield Violation(2, attempt["_id"], f"says that it moved nothing: {commands[attempt['_id']][0]}")


def _once_in(attempt: Row, commands: list[Row], steps: list[Row]) -> Iterator[Violation]:
    numbered = Counter((c["instrument"], c["text"]) for c in commands if _NUMBERED.match(c["text"]))
    for (instrument, text), count in numbered.items():
        if count > 1:
            yield Violation(2, attempt["_id"], f"{instrument} got {text!r} {count} times")
    yield from _dispensed(attempt, commands, steps)
    last: dict[str, str] = {}
    for command in commands:
        if _STROKE.match(command["text"]):
            continue
        if last.get(command["instrument"]) == command["text"]:
            yield Violation(2, attempt["_id"], f"{command['instrument']} got {command['text']!r} twice in a row")
        last[command["instrument"]] = command["text"]
    # A virtual device is told once per step to be busy.
    runs = Counter(c["instrument"] for c in commands if c["verb"] == "RUN")
    for device in {*runs, *(d for s in steps if s["action"] == "occupy" for d in s["devices"])}:
        wanted = sum(device in step["devices"] for step in steps if step["action"] == "occupy")
        if runs[device] > wanted or (attempt["state"] == "completed" and runs[device] != wanted):
            yield Violation(
                2, attempt["_id"], f"{device} was to RUN {wanted} times and was told so {runs[device]} times"
            )


def _dispensed(attempt: Row, commands: list[Row], steps: list[Row]) -> Iterator[Violation]:
    """Equal strokes of a pump may follow each other, but all together they give what the step adds."""
    wanted_ul = sum(step["adds"]["volume_ul"] for step in steps if step["adds"])
    given_ul = sum(int(stroke[1]) for c in commands if (stroke := _STROKE.match(c["text"]))) / STEPS_PER_UL
    if given_ul > wanted_ul + 1 or (attempt["state"] == "completed" and given_ul < wanted_ul - 1):
        yield Violation(2, attempt["_id"], f"was to add {wanted_ul:g} µL and has added {given_ul:g} µL")


def _decisions(e: Evidence) -> dict[str, list[float]]:
    """Return when an operator decided to repeat, by the first step of what is repeated."""
    applied_s = {
        ev["subject"]: ev["lab_s"] for ev in e.events if ev["kind"] == "request" and ev["state_to"] == "applied"
    }
    blocks = {step["id"]: step["block"] for step in e.steps}
    found: dict[str, list[float]] = defaultdict(list)
    for request in e.requests:
        if request["verb"] == "decide" and request["payload"]["decision"] == "repeat" and request["id"] in applied_s:
            step = request["payload"]["step"]
            found[step].append(applied_s[request["id"]])
            found[blocks.get(step, step)].append(applied_s[request["id"]])
    return found


# --- 3. one owner -------------------------------------------------------------------------------------------------


class Owners:
    """Which attempt each command at the bench belongs to, by who held the device at that moment."""

    def __init__(self, e: Evidence) -> None:
        steps = {step["id"]: step for step in e.steps}
        self.late_s = LATE_S * e.scale
        self.holds: dict[str, list[tuple[float, float, str, str]]] = defaultdict(list)
        """Device → (from, to, attempt, mode)."""
        released_s = _released(e)
        for attempt in e.attempts:
            if attempt.get("claimed_lab_s") is None:
                continue
            until_s = attempt["ended_lab_s"]
            if attempt["state"] not in ("completed", "failed", "aborted"):
                until_s = max(until_s or 0.0, released_s.get(attempt["_id"], float("inf")))
            modes: dict[str, str] = {}
            for step_id in attempt["step_ids"]:
                for device, mode in steps.get(step_id, {"devices": {}})["devices"].items():
                    modes[device] = "use" if "use" in (mode, modes.get(device)) else mode
            for device, mode in modes.items():
                self.holds[device].append((attempt["claimed_lab_s"], until_s, attempt["_id"], mode))
        self.commands: dict[str, list[Row]] = defaultdict(list)
        self.unowned: list[Row] = []
        for command in moving(e):
            owner = self.owner(command["instrument"], command["lab_s"])
            if owner is None:
                self.unowned.append(command)
            else:
                self.commands[owner].append(command)

    def owner(self, device: str, lab_s: float) -> str | None:
        """Return which attempt used a device then."""
        using = [hold for hold in self.holds[device] if hold[3] == "use"]
        inside = [hold for hold in using if hold[0] <= lab_s <= hold[1]]
        if not inside:
            inside = [hold for hold in using if hold[1] < lab_s <= hold[1] + self.late_s]
        return max(inside)[2] if inside else None


def moving(e: Evidence) -> list[Row]:
    """Return every command that moved something, in the order in which they reached the bench."""
    return [
        line
        for line in e.bench
        if line["kind"] == "command" and line["moves"] and line.get("executed", line["accepted"])
    ]


def _released(e: Evidence) -> dict[str, float]:
    """Return when the scheduler gave up an attempt that did not end by itself: the decision about its step."""
    attempt: dict[str, int] = defaultdict(int)
    found: dict[str, float] = {}
    for event in e.events:
        if event["kind"] != "step":
            continue
        step = event["subject"]
        if event["state_to"] == "granted":
            attempt[step] += 1
        elif event["state_from"] in HOLDING and event["state_to"] not in HOLDING:
            found[f"{step}/{attempt[step]}"] = event["lab_s"]
    return found


def one_owner(e: Evidence) -> Iterator[Violation]:
    """No device was owned by two, neither in the scheduler's log, nor at the hosts, nor at the bench."""
    yield from _granted_once(e)
    owners = Owners(e)
    for device, holds in owners.holds.items():
        holds.sort()
        for index, (_, until_s, attempt, mode) in enumerate(holds):
            for from_s, _, other, other_mode in holds[index + 1 :]:
                if from_s >= until_s:
                    break
                if "use" in (mode, other_mode):
                    yield Violation(3, device, f"was held by {attempt} until {until_s}, and by {other} from {from_s}")
    for command in owners.unowned:
        text = f"got {command['text']!r} at {command['lab_s']:.2f} from nobody who held it"
        yield Violation(3, command["instrument"], text)
    yield from _incidents(e, owners)


def _incidents(e: Evidence, owners: Owners) -> Iterator[Violation]:
    """Nothing collided, and nothing else went wrong at a bench where no step had failed half-way before."""
    host_of = {attempt["_id"]: attempt["host"] for attempt in e.attempts}
    hosts = {device: host_of[hold[2]] for device, holds in owners.holds.items() for hold in holds}
    failed_s: dict[str, float] = {}
    for attempt in e.attempts:
        if attempt["touched"] and attempt["state"] != "completed":
            ended_s = attempt["ended_lab_s"] or attempt["claimed_lab_s"]
            failed_s[attempt["host"]] = min(ended_s, failed_s.get(attempt["host"], ended_s))
    for line in e.bench:
        if line["kind"] != "incident":
            continue
        # Where a step has failed half-way, vessels stand where nobody expects them. Nothing collides even then.
        disturbed_s = failed_s.get(hosts.get(line["instrument"], ""), float("inf"))
        if line["code"] == "collision" or line["lab_s"] < disturbed_s:
            yield Violation(3, line["instrument"], f"{line['code']} at {line['lab_s']:.2f}: {line['text']}")


def _granted_once(e: Evidence) -> Iterator[Violation]:
    steps = {step["id"]: step for step in e.steps}
    holders: dict[str, dict[str, str]] = defaultdict(dict)
    held: dict[str, str] = {}
    for event in e.events:
        step = steps.get(event["subject"])
        if event["kind"] != "step" or step is None or step["action"] is None:
            continue
        before, after = event["state_from"] in HOLDING, event["state_to"] in HOLDING
        for device, mode in step["devices"].items():
            mine = holders[device]
            if after and not before:
                for other, other_mode in mine.items():
                    if steps[other]["block"] != step["block"] and "use" in (mode, other_mode):
                        yield Violation(3, device, f"was granted to {step['id']} while {other} had it")
                mine[step["id"]] = mode
            elif before and not after:
                mine.pop(step["id"], None)
        held[step["id"]] = event["state_to"]


def places(e: Evidence) -> Iterator[Violation]:
    """No place held two samples at any time between a run that took it and the run that gave it back."""
    frees = {step["id"]: step["frees"] for step in e.steps}
    stops: dict[str, float] = {stop["run_start"]: stop["lab_s"] for stop in e.run_stops}
    states = {attempt["_id"]: attempt["state"] for attempt in e.attempts}
    standing: dict[tuple[str, int], list[tuple[float, float, str]]] = defaultdict(list)
    for sample, runs in _runs_of_samples(e).items():
        open_since: dict[tuple[str, int], tuple[float, float]] = {}
        for run in runs:
            ended_s: float = stops.get(run["uid"]) or run["lab_s"]
            here = {(_resource(e, run["module"], name), index) for name, index in run["places"].items()}
            for place in set(open_since) - here:
                standing[place].append((*open_since.pop(place), sample))
            for place in here:
                open_since[place] = (open_since.get(place, (run["lab_s"], 0.0))[0], ended_s)
            if states.get(run["attempt_id"]) == "completed":
                freed = {resource for step in run["step_ids"] for resource in frees.get(step, ())}
                for place in [place for place in open_since if place[0] in freed]:
                    standing[place].append((*open_since.pop(place), sample))
        for place, span in open_since.items():
            standing[place].append((*span, sample))
    for place, spans in standing.items():
        spans.sort()
        for (_, until_s, sample), (from_s, _, other) in pairwise(spans):
            if from_s < until_s and sample != other:
                yield Violation(
                    3, f"{place[0]} {place[1] + 1}", f"held {sample} until {until_s}, {other} from {from_s}"
                )


def _runs_of_samples(e: Evidence) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = defaultdict(list)
    for run in sorted(e.run_starts, key=lambda run: run["lab_s"]):
        if run.get("sample_id"):
            found[run["sample_id"]].append(run)
    return found


def _resource(e: Evidence, module: str, local: str) -> str:
    return e.resources.get(f"{module}.{local}") or (local if "." in local else f"{module}.{local}")


# --- 4. documents and files ---------------------------------------------------------------------------------------


def documents(e: Evidence) -> Iterator[Violation]:
    """Each attempt is closed; each run has one start and one stop; each array that is referred to is there."""
    stops = Counter(stop["run_start"] for stop in e.run_stops)
    runs: dict[str, list[Row]] = defaultdict(list)
    for start in e.run_starts:
        runs[start["attempt_id"]].append(start)
        if stops[start["uid"]] != 1:
            yield Violation(4, start["attempt_id"], f"run {start['uid']} has {stops[start['uid']]} stop documents")
    known = {start["uid"] for start in e.run_starts}
    for uid in set(stops) - known:
        yield Violation(4, uid, "has a stop document and no start")
    attempts = {attempt["_id"]: attempt for attempt in e.attempts}
    for attempt_id in set(runs) - set(attempts):
        yield Violation(4, attempt_id, "has run documents and no record")
    for attempt in e.attempts:
        if attempt["state"] not in CLOSED:
            yield Violation(4, attempt["_id"], f"was never closed: it is {attempt['state']}")
        members = Counter((run["task_id"], run["sample_id"]) for run in runs[attempt["_id"]])
        if twice := [member for member, count in members.items() if count > 1]:
            yield Violation(4, attempt["_id"], f"has two start documents for {twice[0]}")
        if attempt.get("started_lab_s") is not None and not members:
            yield Violation(4, attempt["_id"], "was started and has no start document")
        if attempt["state"] == "completed" and {o["run_uid"] for o in attempt["outcomes"]} - known:
            yield Violation(4, attempt["_id"], "has outcomes of runs that are not there")
    for owner, reference in _references(e):
        file = e.files.get(reference["file"])
        if file is None:
            yield Violation(4, owner, f"refers to {reference['file']}, which is not there")
        elif (file["bytes"], file["sha256"]) != (reference["bytes"], reference["sha256"]):
            yield Violation(4, owner, f"refers to {reference['file']} with another size or checksum")
        if not reference["file"].endswith(".nxs"):
            yield Violation(4, owner, f"takes {reference['file']} for a result")
    yield from _left_over(e)


def _left_over(e: Evidence) -> Iterator[Violation]:
    """All attempts are closed and all hosts are back, so nothing is half-written any more."""
    for name in e.files:
        if not name.endswith(".nxs"):
            yield Violation(4, name, "was left behind unfinished")


def _references(e: Evidence) -> Iterator[tuple[str, Row]]:
    for attempt in e.attempts:
        for outcome in attempt.get("outcomes") or ():
            for reference in outcome["arrays"].values():
                yield attempt["_id"], reference
    for result in e.results:
        for reference in (result.get("arrays") or {}).values():
            yield result["_id"], reference


# --- 5. notifications ---------------------------------------------------------------------------------------------


def notifications(e: Evidence) -> Iterator[Violation]:
    """What happened to a job was put into the outbox, and what left the outbox arrived."""
    happened = Counter(
        (event["subject"], TOLD[event["state_to"]])
        for event in e.events
        if event["kind"] == "job" and event["state_to"] in TOLD
    )
    written = Counter((row["job_id"], row["event"]) for row in e.notifications)
    gone = Counter((row["job_id"], row["event"]) for row in e.notifications if row["delivered_at"])
    arrived = Counter((row["job_id"], row["event"]) for row in e.delivered)
    for key, count in happened.items():
        if written[key] != count:
            yield Violation(5, key[0], f"{key[1]} happened {count} times, and {written[key]} messages were written")
    for key, count in gone.items():
        if arrived[key] < count:
            yield Violation(5, key[0], f"{count} messages ({key[1]}) count as delivered, and {arrived[key]} arrived")
    for row in e.notifications:
        if row["gave_up_at"]:
            yield Violation(5, row["job_id"], f"the message ({row['event']}) was given up")


def counts(e: Evidence) -> dict[str, Any]:
    """Return how much was checked."""
    return {
        "jobs": len(e.jobs),
        "steps": len(e.steps),
        "attempts": len(e.attempts),
        "commands": len(moving(e)),
        "runs": len(e.run_starts),
        "files": len(e.files),
        "notifications": len(e.notifications),
        "decisions": sum(request["verb"] == "decide" for request in e.requests),
    }


def _grouped(rows: Iterable[Row], by: str, what: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        found[row[by]].add(row[what])
    return found
