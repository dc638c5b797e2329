"""What people ask of running attempts, and the emergency stop: heard over Redis, and looked up once a second."""

from __future__ import annotations

import json
import logging
import threading
import time
from datetime import UTC, datetime
from typing import Any

import redis
from pydantic import ValidationError

from analysis.documents import DocumentStore, StoreError
from modules.contract.messages import CLOSED, CONTROL_CHANNEL, Control, Latch

from .attempt import Bench
from .executor import Executor

log = logging.getLogger(__name__)

POLL_S = 0.9
"""With the look itself, a second: a trip is heard at most 1.1 s later without Redis."""
SCHEMA_VERSION = 1


class Controls:
    """Two threads, so that neither store can delay the other."""

    def __init__(self, bench: Bench, executor: Executor, store: DocumentStore, client: redis.Redis) -> None:
        self._bench = bench
        self._executor = executor
        self._store = store
        self._client = client
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, name="controls", daemon=True),
            threading.Thread(target=self._poll, name="controls-poll", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End them."""
        self._end.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(5)

    # ------------------------------------------------------------------ two ways to hear

    def _listen(self) -> None:
        while not self._end.is_set():
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(CONTROL_CHANNEL)
                    while not self._end.is_set():
                        if (message := channel.get_message(timeout=0.5)) is not None:
                            self.hear(message["data"])
            except redis.RedisError as error:
                log.debug("controls come from the store only: %s", error)
                self._end.wait(POLL_S)

    def hear(self, data: bytes | str) -> None:
        """Apply a control or a latch that came over Redis; what is neither is ignored."""
        try:
            message = json.loads(data)
            if "verb" in message:
                self._apply(Control.model_validate(message))
            elif "tripped" in message:
                self.latch(Latch.model_validate(message))
        except (ValueError, TypeError, ValidationError) as error:
            log.warning("a control that makes no sense is ignored: %s", error)

    def _poll(self) -> None:
        while not self._end.wait(POLL_S):
            try:
                self.look()
            except StoreError as error:
                log.debug("controls come over Redis only: %s", error)
            except Exception:
                log.exception("looking for controls failed; it goes on")

    def look(self) -> None:
        """Look up latches, controls of what is running, and whether it is still ours.

        Raises
        ------
        StoreError
            The store cannot be read.
        """
        for document in self._store.find("latches"):
            self.latch(Latch.model_validate(_without_id(document)))
        running = {run.attempt_id: run for run in self._executor.running}
        if not running:
            return
        controls = [
            Control.model_validate(_without_id(document))
            for document in self._store.find("controls", {"attempt_id": {"$in": list(running)}})
        ]
        for control in sorted(controls, key=lambda control: control.at):
            self._apply(control)
        for record in self._store.find_ids("attempts", running):
            run = running[record["_id"]]
            if record["state"] in CLOSED and record["nonce"] == run.nonce and run in self._executor.running:
                run.revoked = True
                run.interruptions.revoke(f"the attempt was closed as {record['state']} by somebody else")

    # ------------------------------------------------------------------ taking effect

    def _apply(self, control: Control) -> None:
        for run in self._executor.running:
            if run.attempt_id != control.attempt_id:
                continue
            log.info("%s: %s by %s %s", control.attempt_id, control.verb, control.actor, control.reason)
            run.interruptions.apply(control)
            if control.verb == "halt":
                used = [device for device, mode in run.devices.items() if mode == "use"]
                self._bench.rack.make_safe(used, lambda device, confirmed, text: None)

    def latch(self, latch: Latch) -> None:
        """Take over the state of an emergency stop; a trip that is news brings its devices to their safe state."""
        if not self._bench.guard.set_latch(latch):
            return
        log.warning("emergency stop of %s is %s by %s", latch.scope, _state(latch), latch.actor)
        if not latch.tripped:
            return
        covered = self._bench.guard.devices_in(latch.scope)
        self._bench.rack.make_safe(covered, self._reporter(latch))
        for run in self._executor.running:
            if self._bench.guard.tripped(run.order.module, run.devices) is not None:
                run.interruptions.emergency_stop(latch.actor, latch.reason)

    def _reporter(self, latch: Latch) -> Any:
        began_s = time.monotonic()

        def report(device: str, confirmed: bool, text: str) -> None:
            document = {
                "_id": f"{latch.scope}/{latch.serial}/{device}",
                "schema_version": SCHEMA_VERSION,
                "scope": latch.scope,
                "serial": latch.serial,
                "device": device,
                "host": self._bench.host,
                "confirmed": confirmed,
                "text": text,
                "took_s": round(time.monotonic() - began_s, 3),
                "at": datetime.now(UTC).isoformat(),
            }
            log.warning("%s is %s safe %s", device, "confirmed" if confirmed else "NOT confirmed", text)
            self._bench.journal.append({"k": "put", "c": "safe_states", "d": document})
            if not confirmed:
                self._bench.rack.set_state(device, "unknown")
            self._bench.live.ring()

        return report


def _without_id(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "_id"}


def _state(latch: Latch) -> str:
    return "tripped" if latch.tripped else "re-armed"
