"""Runs claimed attempts: the actions of an order one after the other, in a lane of its own."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from modules.contract.messages import AttemptState
from modules.drivers import DeviceError, Refused
from modules.drivers import Stopped as DriverStopped

from .attempt import AttemptRun
from .context import Context
from .interruptions import Aborted, Stopped, emergency_text

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


@dataclass
class _Ending:
    """How an attempt ends."""

    state: AttemptState = "completed"
    error: str = ""
    reason: str = ""


def execute(run: AttemptRun) -> None:
    """Run all actions of an attempt and write how it ended. Devices are released before the close is told."""
    ending = _do(run)
    ended_lab_s = run.bench.clock.now()
    try:
        _keep(run, ending, ended_lab_s)
    except Exception as problem:
        log.exception("%s: what was recorded could not be kept", run.attempt_id)
        if ending.state == "completed":
            ending.state, ending.error = "failed", f"what was recorded could not be kept: {problem}"
    finally:
        _leave_devices(run, ending)
        run.journal_close(ending.state, ending.error, ending.reason, ended_lab_s)
    if ending.error:
        log.warning("%s %s: %s", run.attempt_id, ending.state, ending.error)


def _do(run: AttemptRun) -> _Ending:
    try:
        run.interruptions.raise_if_ending()
        run.check_interlocks(f"the first command of {run.step.name}")
        run.journal_running()
        run.recorder.start(run.bench.clock.now())
        run.bench.rack.attend(run.devices)
        return _Ending(reason=_run_steps(run))
    except Aborted as abort:
        ending = _ending_of(run, abort)
    except Stopped as stop:
        ending = _Ending(reason=f"stopped by {stop}")
    except BaseException as problem:
        ending = _failure_of(run, problem)
    emergency = _emergency(run)
    if not emergency:
        return ending
    run.interruptions.emergency = emergency
    return _cut_short(run, emergency, ending.error)


def _emergency(run: AttemptRun) -> str:
    """Return which emergency stop covers the attempt, or ""."""
    # the guard knows first: devices are made safe before attempts are told, and a driver may give up in between
    latch = run.bench.guard.tripped(run.order.module, run.devices)
    return emergency_text(latch.actor, latch.reason) if latch else run.interruptions.emergency


def _keep(run: AttemptRun, ending: _Ending, ended_lab_s: float) -> None:
    """Bring arrays and documents to where they stay: the file first, then what refers to it."""
    try:
        run.recorder.close_file()
    except OSError as problem:
        log.error("%s: %s", run.attempt_id, problem)
        if ending.state == "completed":
            ending.state, ending.error = "failed", str(problem)
    exit_status = {"completed": "success", "aborted": "abort"}.get(ending.state, "fail")
    run.recorder.stop(exit_status, ending.error or ending.reason, ended_lab_s)


def _leave_devices(run: AttemptRun, ending: _Ending) -> None:
    """Release the devices; those that may stand anywhere are unknown."""
    rack = run.bench.rack
    if ending.state == "interrupted" or (run.touched and run.interruptions.halted is not None):
        for device, mode in run.devices.items():
            if mode == "use":
                rack.set_state(device, "unknown")
    try:
        rack.leave(run.devices)
    except Exception:
        log.exception("%s: a device could not be disconnected", run.attempt_id)
    run.bench.guard.release(run, run.devices)


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


def _ending_of(run: AttemptRun, abort: Aborted) -> _Ending:
    """Return how an abort, halt, emergency stop or revocation ends an attempt."""
    reason = str(abort)
    if run.revoked:
        return _Ending("interrupted", reason, reason)
    return _Ending("aborted", "", reason)


def _cut_short(run: AttemptRun, reason: str, error: str) -> _Ending:
    """Return what an emergency stop makes of an attempt: nobody knows how far its last command got."""
    text = f"{reason}; {error}" if error else reason
    if not run.touched:
        return _Ending("aborted", error and text, reason)
    if run.last_command not in text:
        text += f" (last command: {run.last_command})"
    return _Ending("interrupted", text, reason)


def _failure_of(run: AttemptRun, problem: BaseException) -> _Ending:
    """Return how an action that raised ends its attempt."""
    problem = _cause_of(problem)
    run.bench.rack.note_error(problem)
    if isinstance(problem, DeviceError) and not isinstance(problem, Refused | DriverStopped):
        run.broken[problem.device] = problem.problem
    text = str(problem) or type(problem).__name__
    if not isinstance(problem, DeviceError):
        text = f"action {run.step.action!r}: {type(problem).__name__}: {text}"
        log.error("%s: %s", run.attempt_id, text, exc_info=problem)
    if run.last_command and run.last_command.partition(": ")[2] not in text:
        text += f" (last command: {run.last_command})"
    abort = run.interruptions.abort
    if abort is not None:
        ending = _ending_of(run, abort)
        ending.error = f"{ending.error or ending.reason}; {text}"
        return ending
    if getattr(problem, "uncertain", False):
        return _Ending("interrupted", text, "the outcome of the last command is not known")
    return _Ending("failed", text)


def _cause_of(problem: BaseException) -> BaseException:
    """Return the device's own error if there is one behind it, as behind Bluesky's ``FailedStatus``."""
    cause: BaseException | None = problem
    while cause is not None:
        if isinstance(cause, DeviceError):
            return cause
        cause = cause.__cause__
    return problem
