"""Watches readings and trips interlocks. What runs here is paused, aborted or stopped at once, whoever else is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from analysis.documents import DocumentStore, StoreError
from modules.contract.interlocks import LOG, STATES, InterlockRecord, InterlockSection, Judge, Value
from modules.contract.messages import LATCH_LOG, Control, Latch

from .attempt import Bench
from .executor import Executor

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""Real seconds between two readings."""


class Interlocks:
    """A thread for each interlock whose device stands at this host: none can delay another.

    Parameters
    ----------
    latch : callable
        Takes an emergency stop that was tripped here.
    publish : callable
        Tells everybody else of it; may fail silently.
    """

    def __init__(
        self,
        sections: Iterable[InterlockSection],
        scopes: Callable[[str], Iterable[str]],
        bench: Bench,
        executor: Executor,
        store: DocumentStore,
        latch: Callable[[Latch], None],
        publish: Callable[[Latch], None],
    ) -> None:
        self._bench = bench
        self._executor = executor
        self._store = store
        self._scopes = scopes
        self._latch = latch
        self._publish = publish
        self._end = threading.Event()
        self._tripped: dict[str, str] = {}
        """Interlock → what was read, for those that are tripped by the last reading."""
        self._sections = {section.id: section for section in sections}
        self._threads = [
            threading.Thread(target=self._watch, args=(section,), name=f"interlock {section.id}", daemon=True)
            for section in self._sections.values()
            if section.device in bench.rack.drivers
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them, soon."""
        self._end.set()

    def covers(self, module: str, devices: Iterable[str]) -> str:
        """Return which interlock, tripped by its last reading, covers a module or one of these devices; or nothing."""
        wanted = {module, *devices}
        for name, said in self._tripped.copy().items():
            covered = {device for cover in self._sections[name].covers for device in (cover, *self._scopes(cover))}
            if wanted & covered:
                return f"interlock {name} is tripped: {said}"
        return ""

    # ------------------------------------------------------------------ one interlock

    def _watch(self, section: InterlockSection) -> None:
        judge, serial = self._begin(section)
        if judge.tripped:
            self._tripped[section.id] = f"{section.reading} was beyond its limit"
        while not self._end.wait(LOOK_S):
            try:
                value = self._read(section)
                if judge.look(value, self._bench.clock.now()):
                    serial = max(int(time.time() * 1000), serial + 1)
                    self._changed(section, judge.tripped, value, serial)
            except Exception:
                log.exception("interlock %s could not be judged; it goes on", section.id)

    def _begin(self, section: InterlockSection) -> tuple[Judge, int]:
        """Go on as an earlier incarnation left it: what was tripped stays so until it clears."""
        while not self._end.is_set():
            try:
                found = self._store.find_ids(STATES, [section.id])
            except StoreError:
                self._end.wait(LOOK_S)
                continue
            if found:
                return Judge(section, tripped=bool(found[0]["tripped"])), int(found[0]["serial"])
            break
        return Judge(section), 0

    def _read(self, section: InterlockSection) -> Value | None:
        """Return the present reading, None if it cannot be had."""
        if self._bench.rack.states().get(section.device) == "offline":
            return None
        try:
            status = self._bench.rack.drivers[section.device].status()
        except Exception as error:
            log.debug("interlock %s: %s", section.id, error)
            return None
        value: Any = status.state if section.name == "state" else status.detail.get(section.name)
        if isinstance(value, bool | int | float):
            return float(value)
        return None if value is None else str(value)

    def _changed(self, section: InterlockSection, tripped: bool, value: Value | None, serial: int) -> None:
        bench = self._bench
        record = InterlockRecord(
            interlock=section.id, tripped=tripped, serial=serial, value=value, host=bench.host,
            at=datetime.now(UTC).isoformat(), lab_s=bench.clock.now(),
        ).model_dump(mode="json")  # fmt: skip
        log.warning("interlock %s %s at %s", section.id, "tripped" if tripped else "cleared", value)
        if tripped:
            self._tripped[section.id] = _said(section, value)
            self._act(section, value)
        else:
            self._tripped.pop(section.id, None)
        bench.journal.append({"k": "put", "c": STATES, "d": {"_id": section.id, **record}})
        bench.journal.append({"k": "doc", "c": LOG, "d": {"_id": f"{section.id}/{serial}", **record}})
        bench.live.ring()

    # ------------------------------------------------------------------ what it does

    def _act(self, section: InterlockSection, value: Value | None) -> None:
        actor = f"interlock {section.id}"
        reason = _said(section, value)
        if section.does == "estop":
            for scope in section.covers:
                self._stop(scope, actor, reason)
            return
        if section.does == "block":
            return
        covered = {device for cover in section.covers for device in (cover, *self._scopes(cover))}
        for run in self._executor.running:
            if covered & set(run.devices):
                now = datetime.now(UTC)
                run.interruptions.apply(
                    Control(attempt_id=run.attempt_id, verb=section.does, actor=actor, reason=reason, at=now)
                )

    def _stop(self, scope: str, actor: str, reason: str) -> None:
        """Trip the emergency stop: here first, then for everybody."""
        now = datetime.now(UTC)
        latch = Latch(scope=scope, tripped=True, serial=int(now.timestamp() * 1000), actor=actor, reason=reason, at=now)
        self._latch(latch)
        self._publish(latch)
        content = latch.model_dump(mode="json")
        self._bench.journal.append({"k": "put", "c": "latches", "d": {"_id": scope, **content}})
        self._bench.journal.append({"k": "doc", "c": LATCH_LOG, "d": {"_id": f"{scope}/{latch.serial}", **content}})


def _said(section: InterlockSection, value: Value | None) -> str:
    return f"{section.reading} is {'not known' if value is None else value}"
