"""Runs claimed attempts: the actions of an order one after the other, in a lane of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from modules.contract.messages import AttemptState
from modules.drivers import DeviceError

from .attempt import AttemptRun
from .context import Context
from .interruptions import Aborted, Stopped

log = logging.getLogger(__name__)


class Lanes:
    """Threads that are made when all others are busy, and kept. The guard limits how many can be needed."""

    def __init__(self) -> None:
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._free = 0
        self._made = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have the work done by a thread that is free, or by a new one."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
            else:
                self._made += 1
                threading.Thread(target=self._run, name=f"lane {self._made}", daemon=True).start()
        self._work.put(work)

    def _run(self) -> None:
        while True:
            work = self._work.get()
            try:
                work()
            except BaseException:
                log.exception("a lane's work failed; the lane goes on")
            with self._lock:
                self._free += 1


class Executor:
    """Runs attempts and knows which are running."""

    def __init__(self) -> None:
        self._lanes = Lanes()
        self._changed = threading.Condition()
        self._running: dict[str, AttemptRun] = {}

    @property
    def running(self) -> list[AttemptRun]:
        """The attempts that are running."""
        with self._changed:
            return list(self._running.values())

    def submit(self, run: AttemptRun) -> None:
        """Run a claimed attempt whose devices are reserved."""
        with self._changed:
            self._running[run.attempt_id] = run
        if (latch := run.bench.guard.tripped(run.order.module, run.devices)) is not None:
            run.interruptions.emergency_stop(latch.actor, latch.reason)
        self._lanes.submit(lambda: self._run(run))

    def wait_until_idle(self, timeout_s: float) -> bool:
        """Wait for all attempts to end; return whether they did."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout_s)

    def _run(self, run: AttemptRun) -> None:
        try:
            execute(run)
        finally:
            with self._changed:
                self._running.pop(run.attempt_id, None)
                self._changed.notify_all()


def execute(run: AttemptRun) -> None:
    """Run all actions of an attempt and write how it ended. Devices are released before the close is told."""
    bench = run.bench
    state: AttemptState = "completed"
    error = reason = ""
    try:
        run.interruptions.raise_if_ending()
        run.journal_running()
        assert run.started_lab_s is not None  # noqa: S101 - set by journal_running
        run.recorder.start(run.started_lab_s)
        bench.rack.attend(run.devices)
        reason = _run_steps(run)
    except Aborted as abort:
        state, error, reason = _ending_of(run, abort)
    except Stopped as stop:
        reason = f"stopped by {stop}"
    except BaseException as problem:
        state, error, reason = _failure_of(run, problem)
    ended_lab_s = bench.clock.now()
    try:
        run.recorder.close_file()
    except Exception as problem:
        log.exception("%s: the array file could not be finished", run.attempt_id)
        if state == "completed":
            state, error = "failed", f"the array file could not be finished: {problem}"
    exit_status = {"completed": "success", "aborted": "abort"}.get(state, "fail")
    run.recorder.stop(exit_status, error or reason, ended_lab_s)
    bench.rack.leave(run.devices)
    if state == "interrupted":
        for device, mode in run.devices.items():
            if mode == "use":
                bench.rack.set_state(device, "unknown")
    bench.guard.release(run, run.devices)
    run.journal_close(state, error, reason, ended_lab_s)
    if error:
        log.warning("%s %s: %s", run.attempt_id, state, error)


def _run_steps(run: AttemptRun) -> str:
    """Run the actions back to back; return why it ended early although it is a success, or ""."""
    reason = ""
    for step in run.order.steps:
        if (abort := run.interruptions.abort) is not None:
            raise abort
        run.step = step
        try:
            _run_action(run)
        except Stopped as stop:
            # the rest of a block still has to be done: the arm must not stop with the vial in its hand
            reason = f"stopped by {stop}"
        finally:
            run.recorder.end_step(step.name)
        run.step_ends_lab_s[step.step_id] = run.bench.clock.now()
    return reason


def _run_action(run: AttemptRun) -> None:
    action = run.module.actions[run.step.action]
    if not run.module.runs_as_plan(run.step.action):
        action(Context(run))
        return
    from .plans import run_plan

    pausable = run.module.manifest.action(run.step.action).pause != "none"
    run_plan(run, action(Context(run, plan=True)), pausable=pausable)


def _ending_of(run: AttemptRun, abort: Aborted) -> tuple[AttemptState, str, str]:
    """Return state, error and reason after an abort, halt or emergency stop."""
    reason = str(abort)
    if run.interruptions.emergency:
        return _cut_short(run, run.interruptions.emergency)
    if run.revoked:
        return "interrupted", reason, reason
    return "aborted", "", reason


def _cut_short(run: AttemptRun, reason: str) -> tuple[AttemptState, str, str]:
    """Return what an emergency stop makes of an attempt: nobody knows how far its last command got."""
    if run.touched:
        return "interrupted", f"{reason}; last command: {run.last_command}", reason
    return "aborted", "", reason


def _failure_of(run: AttemptRun, problem: BaseException) -> tuple[AttemptState, str, str]:
    """Return state, error and reason after an action raised."""
    run.bench.rack.note_error(problem)
    text = str(problem) or type(problem).__name__
    if not isinstance(problem, DeviceError):
        text = f"action {run.step.action!r}: {type(problem).__name__}: {text}"
        log.error("%s: %s", run.attempt_id, text, exc_info=problem)
    if run.last_command and run.last_command.partition(": ")[2] not in text:
        text += f" (last command: {run.last_command})"
    if run.interruptions.emergency:
        state, error, reason = _cut_short(run, run.interruptions.emergency)
        return state, f"{error or reason}; {text}", reason
    if (abort := run.interruptions.abort) is not None:
        return "aborted", text, str(abort)
    if getattr(problem, "uncertain", False):
        return "interrupted", text, "the outcome of the last command is not known"
    return "failed", text, ""
