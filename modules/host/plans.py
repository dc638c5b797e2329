"""Runs actions that are Bluesky plans. Imported only when there is one: Bluesky is large.

What was measured of Bluesky 1.15 and is handled here: only a deferred pause is clean; an abort's reason is lost on
the way to the stop document (octolab writes its own); devices always hear ``stop(success=True)``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

from bluesky._vendor.super_state_machine.errors import TransitionError
from bluesky.run_engine import RunEngine
from bluesky.utils import RunEngineInterrupted

from .attempt import AttemptRun
from .interruptions import Aborted, Halted, Stopped

_loop_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def shared_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that all engines of this process share. The first engine starts it."""
    global _loop
    with _loop_lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
        return _loop


class _Engine(RunEngine):
    """A RunEngine whose devices hear the truth when they are stopped."""

    async def _stop_movable_objects(self, *, success: bool = True) -> None:
        await super()._stop_movable_objects(success=success and self._exit_status == "success")


class PlanRun:
    """One plan under the interruptions of its attempt."""

    def __init__(self, run: AttemptRun, *, pausable: bool) -> None:
        self._run = run
        self._interruptions = run.interruptions
        self._attempt_id = run.attempt_id
        self._pausable = pausable
        self._engine = _Engine({}, loop=shared_loop(), context_managers=[])
        self._engine.subscribe(run.recorder.fold)
        # also when it begins to run: what was asked a moment before would else be lost
        self._engine.state_hook = lambda new, old: self._listen()  # type: ignore[assignment]
        self._ending: Stopped | Aborted | None = None
        self._asking = threading.Lock()

    def __call__(self, plan: Generator[Any, Any, Any]) -> None:
        """Run the plan to its end.

        Raises
        ------
        Stopped, Aborted
            It was asked to end.
        Exception
            What the plan raised.
        """
        self._interruptions.listeners.append(self._listen)
        try:
            self._go(lambda: self._engine(plan))
            while self._engine.state == "paused":
                self._run.wait_while_paused()
                self._leave_pause()
        finally:
            self._interruptions.listeners.remove(self._listen)
        if self._ending is not None:
            raise self._ending

    def _go(self, step: Callable[[], Any]) -> None:
        try:
            step()
        except RunEngineInterrupted:
            if self._engine.state != "paused":
                self._ending = self._interruptions.abort or Aborted("octolab", "the plan was interrupted")

    def _leave_pause(self) -> None:
        if (abort := self._interruptions.abort) is not None:
            self._ending = abort
            self._end(abort)
        elif (stop := self._interruptions.take_stop()) is not None:
            self._ending = stop
            self._engine.stop()
        else:
            self._go(self._engine.resume)

    def _end(self, abort: Aborted) -> None:
        if isinstance(abort, Halted):
            self._engine.halt()
        else:
            self._engine.abort(str(abort))

    def _listen(self) -> None:
        asked = self._interruptions
        if asked.abort is not None or asked.stop is not None or (asked.paused and self._pausable):
            # the engine answers from its loop, which a blocking device may hold up: never wait for it here
            threading.Thread(target=self._ask_engine, name=f"control {self._attempt_id}", daemon=True).start()

    def _ask_engine(self) -> None:
        with self._asking, suppress(TransitionError):  # it may end, or pause, at this very moment
            if self._engine.state != "running":
                return
            if (abort := self._interruptions.abort) is not None:
                self._end(abort)
            else:
                self._engine.request_pause(defer=True)


def run_plan(run: AttemptRun, plan: Generator[Any, Any, Any], *, pausable: bool) -> None:
    """Run a plan to its end; see :class:`PlanRun`."""
    PlanRun(run, pausable=pausable)(plan)
