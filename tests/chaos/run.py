"""A run: the lab works, faults come, the lab comes to rest, and its promises are checked."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from octolab.client import OctolabError

from . import faults as chaos_faults
from . import lab as chaos_lab
from .evidence import Evidence, gather
from .faults import Fault, Scene
from .invariants import Violation, check, counts
from .lab_under_fire import LabUnderFire, Missed
from .people import FINAL, Listener, Operator, Submitter

REST_WITHIN_S = 300.0
AT_LEAST_JOBS = 3


@dataclass(frozen=True)
class Plan:
    """What is asked for."""

    seed: str
    minutes: float
    faults: int | None
    scale: float
    silver: bool
    only: tuple[str, ...] = ()
    """Kinds of faults; empty for all."""


@dataclass
class Report:
    """What a run found."""

    plan: Plan
    done: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    evidence: Evidence = field(default_factory=Evidence)
    violations: list[Violation] = field(default_factory=list)
    output: str = ""


def run(plan: Plan, folder: Path, *, own_disk: bool, say: Any = print) -> Report:
    """Run chaos once."""
    lab_file = folder / "lab.toml"
    chaos_lab.write_lab_file(lab_file, silver=plan.silver)
    report = Report(plan)
    listener = Listener()
    lab = LabUnderFire(folder, lab_file, plan.scale, own_disk=own_disk)
    try:
        lab.wait_until_ready(listener.url)
        submitter = Submitter(lab.client, plan.seed, silver=plan.silver)
        operator = Operator(lab.client, lab.instrument, plan.seed)
        submitter.start()
        operator.start()
        lab.stack.until(lambda: len(submitter.accepted) >= AT_LEAST_JOBS or bool(submitter.refused))
        if submitter.refused:
            raise RuntimeError(submitter.refused[0])
        scene = Scene(lab, listener)
        _storm(plan, scene, report, say)
        _calm(scene, silver=plan.silver)
        submitter.end.set()
        submitter.join()
        say(f"faults are over; waiting for {len(submitter.accepted)} jobs to end")
        _rest(lab, operator, say)
        operator.end.set()
        operator.join()
        _quiet(lab)
        report.evidence = gather(
            lab.data, lab.documents_url, lab_file, lab.anchors, submitter.accepted, listener.delivered
        )
        report.evidence.save(folder / "evidence.json")
        report.violations = check(report.evidence)
        if submitter.refused:
            say(f"{len(submitter.refused)} jobs were refused, the first: {submitter.refused[0]}")
    finally:
        if lab.stack.process.poll() is None:
            lab.stack.stop()
        listener.close()
        report.output = lab.stack.output
    return report


def _storm(plan: Plan, scene: Scene, report: Report, say: Any) -> None:
    drawn = chaos_faults.schedule(plan.seed, silver=plan.silver)
    if plan.only:
        drawn = (fault for fault in drawn if fault.kind in plan.only)
    end_s = time.monotonic() + plan.minutes * 60
    lasting: list[threading.Thread] = []
    for fault in islice(drawn, None):
        injected = sum(report.done.values())
        if injected >= plan.faults if plan.faults is not None else time.monotonic() >= end_s:
            break
        if plan.faults is not None and time.monotonic() >= end_s:
            say("the time is over before all faults were done")
            break
        thread = threading.Thread(target=_one, args=(fault, scene, report, say), daemon=True)
        thread.start()
        if fault.overlaps:
            lasting.append(thread)
        else:
            thread.join()
        time.sleep(fault.pause_s)
    for thread in lasting:
        thread.join()


def _one(fault: Fault, scene: Scene, report: Report, say: Any) -> None:
    try:
        chaos_faults.do(fault, scene)
    except Missed as reason:
        report.missed[fault.kind] += 1
        say(f"  --- {fault}: {reason}")
        return
    except Exception as error:
        report.missed[fault.kind] += 1
        say(f"  --- {fault}: {type(error).__name__}: {error}")
        return
    report.done[fault.kind] += 1
    say(f"  {sum(report.done.values()):3d} {fault}")


def _calm(scene: Scene, *, silver: bool) -> None:
    with contextlib.suppress(Missed):
        scene.lab.set_clock(0)
    scene.listener.broken.clear()
    for device in (*chaos_lab.devices(), *(chaos_lab.SILVER_DEVICES if silver else ())):
        chaos_faults.mend(scene, device)


def _rest(lab: LabUnderFire, operator: Operator, say: Any) -> None:
    """Wait until all jobs have ended, as long as something still happens."""
    seen, seen_s, told_s = "", time.monotonic(), time.monotonic()
    while time.monotonic() - seen_s < REST_WITHIN_S:
        time.sleep(1)
        with contextlib.suppress(OctolabError, OSError), lab.client() as client:
            jobs = client.jobs()
            open_jobs = [job for job in jobs if job["state"] not in FINAL]
            if not open_jobs:
                return
            now = repr([(job["id"], job["state"], job["steps_done"]) for job in open_jobs])
            if now != seen:
                seen, seen_s = now, time.monotonic()
            elif time.monotonic() - max(seen_s, told_s) > 30:
                told_s = time.monotonic()
                say(f"  still open: {[(job['name'], job['state'], job['state_reason']) for job in open_jobs][:4]}")


def _quiet(lab: LabUnderFire) -> None:
    """Wait until what was written locally has reached the stores, and the outbox is empty."""
    import sqlite3

    from analysis.documents import DocumentStore

    store = DocumentStore(lab.documents_url)
    seen, since_s, give_up_s = (-1,) * 4, time.monotonic(), time.monotonic() + 120
    while time.monotonic() < give_up_s:
        connection = sqlite3.connect(lab.data / "octolab.sqlite3", timeout=60)
        query = "SELECT count(*) FROM notifications_notification WHERE delivered_at IS NULL AND gave_up_at IS NULL"
        waiting = connection.execute(query).fetchone()[0]
        connection.close()
        now = (
            waiting,
            len(store.find("run_stops")),
            len(store.find("results")),
            len(store.find("attempts", {"state": {"$in": ["claimed", "running"]}})),
        )
        if now != seen:
            seen, since_s = now, time.monotonic()
        elif now[0] == 0 and now[3] == 0 and time.monotonic() - since_s > 3:
            break
        time.sleep(0.5)
    store.close()


def describe(report: Report) -> str:
    """Return what a person wants to know."""
    plan, counted = report.plan, counts(report.evidence)
    replay = f"deploy/chaos --seed {plan.seed} --scale {plan.scale:g} --minutes {plan.minutes:g}"
    replay += "".join(
        (
            f" --faults {plan.faults}" if plan.faults is not None else "",
            "" if plan.silver else " --virtual",
            "".join(f" --only {kind}" for kind in plan.only),
        )
    )
    lines = [
        f"faults injected     {sum(report.done.values())}",
        *(f"    {kind:<22} {count}" for kind, count in sorted(report.done.items())),
        f"faults that missed  {sum(report.missed.values())}",
        f"commands checked    {counted.pop('commands')}",
        *(f"{name:<19} {count}" for name, count in counted.items()),
        f"job states          {dict(Counter(job['state'] for job in report.evidence.jobs))}",
        f"attempt states      {dict(Counter(attempt['state'] for attempt in report.evidence.attempts))}",
        f"seed                {plan.seed}",
        f"violations          {len(report.violations)}",
        *(f"    {violation}" for violation in report.violations[:40]),
        f"replay with         {replay}",
    ]
    return "\n".join(lines)
