"""From an order to an attempt that is ours: checks, reservation, and the one insert that decides every race.

Orders that arrive together are claimed together. What is not certain (the store did not answer) is asked again with
the same nonce until it is, so no claim is ever forgotten or made twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from analysis.documents import DocumentRefusedError, DocumentStore, StoreError
from modules.contract.messages import Order

from .attempt import AttemptRun, Bench, all_devices
from .interruptions import emergency_text
from .packages import Module

log = logging.getLogger(__name__)

BATCH = 128
RETRY_S = 0.5


class Claimer:
    """A thread that claims orders and hands over what it claimed.

    Parameters
    ----------
    bench : Bench
        What attempts need.
    modules : Mapping
        Module instances by name.
    store : DocumentStore
        Holds the collection ``attempts``.
    submit : callable
        Takes an attempt that is claimed and has its devices.
    """

    def __init__(
        self,
        bench: Bench,
        modules: Mapping[str, Module],
        store: DocumentStore,
        submit: Callable[[AttemptRun], None],
    ) -> None:
        self._bench = bench
        self._modules = modules
        self._store = store
        self._submit = submit
        self._changed = threading.Condition()
        self._arrived: list[Order] = []
        self._known: set[str] = set()
        self._fence = 0
        self._wake = False
        self._ended = False
        self._room = True
        self._thread = threading.Thread(target=self._run, name="claims", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def take(self, order: Order) -> None:
        """Take an order that was delivered. Returns at once."""
        with self._changed:
            self._arrived.append(order)
            self._changed.notify()

    def look_again(self) -> None:
        """Devices became free: orders that wait for them may have their turn."""
        with self._changed:
            self._wake = True
            self._changed.notify()

    def stop(self) -> None:
        """Claim nothing more. What was asked of the store and is not certain is left to the next start."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(15)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        waiting: list[AttemptRun] = []
        uncertain: list[AttemptRun] = []
        refused: list[tuple[AttemptRun, str]] = []
        while True:
            with self._changed:
                if not (self._arrived or self._wake or self._ended):
                    # orders that wait for a device are looked at again for their deadlines
                    self._changed.wait(RETRY_S if waiting or uncertain or refused else None)
                if self._ended:
                    return
                self._wake = False
                arrived, self._arrived = self._arrived[:BATCH], self._arrived[BATCH:]
                if self._arrived:
                    self._wake = True
            try:
                refused += self._sort(arrived, waiting)
                uncertain += self._ready(waiting)
                uncertain = self._claim(uncertain)
                refused = self._close_refused(refused)
            except StoreError as error:
                log.warning("no step can be claimed: %s", error)
                time.sleep(RETRY_S)
            except Exception:
                log.exception("claiming failed; it goes on")
                time.sleep(RETRY_S)

    def _sort(self, orders: list[Order], waiting: list[AttemptRun]) -> list[tuple[AttemptRun, str]]:
        """Put new orders to those that wait; return those to be refused, with the reason."""
        refused = []
        for order in orders:
            if order.attempt_id in self._known:
                log.info("%s was delivered twice; the second delivery is dropped", order.attempt_id)
                continue
            module = self._modules.get(order.module)
            if module is None or order.task not in {task.name for task in module.manifest.tasks}:
                log.error("%s is for module %r, which is not served here", order.attempt_id, order.module)
                continue
            if past_deadline(order):
                log.info("%s arrived after its deadline and is dropped", order.attempt_id)
                continue
            run = AttemptRun(self._bench, module, order)
            if reason := self._reason_to_refuse(module, run):
                refused.append((run, reason))
                continue
            self._fence = max(self._fence, order.fence)
            self._known.add(order.attempt_id)
            waiting.append(run)
        return refused

    def _reason_to_refuse(self, module: Module, run: AttemptRun) -> str:
        order = run.order
        if order.manifest_hash != module.hash:
            return (
                f"module {order.module!r} has changed since the step was planned (manifest {module.hash[:19]}…, the "
                f"order has {order.manifest_hash[:19]}…): let the server check the job again"
            )
        if order.fence < self._fence:
            return f"the order comes from a scheduler of epoch {order.fence}, and epoch {self._fence} has taken over"
        if (latch := self._bench.guard.tripped(order.module, all_devices(order))) is not None:
            run.interruptions.emergency = emergency_text(latch.actor, latch.reason)
            return f"the emergency stop of {latch.scope} is tripped by {latch.actor}: an operator must re-arm it"
        actions = {action.name for action in module.manifest.actions}
        for step in order.steps:
            if away := sorted(set(step.devices) - set(self._bench.rack.drivers)):
                return f"step {step.name!r} needs {', '.join(away)}, which does not stand at host {self._bench.host!r}"
            if step.action not in actions:
                return f"step {step.name!r} asks for an action {step.action!r}, which the module does not have"
        return ""

    def _ready(self, waiting: list[AttemptRun]) -> list[AttemptRun]:
        """Take from those that wait the ones that got their devices; drop what is too late."""
        ready, still_waiting = [], []
        room = not waiting or self._has_room()
        for run in waiting:
            if past_deadline(run.order):
                log.info("%s waited for its devices beyond its deadline and is dropped", run.attempt_id)
                self._known.discard(run.attempt_id)
            elif room and self._bench.guard.reserve(run, run.devices):
                run.claimed_lab_s = self._bench.clock.now()
                ready.append(run)
            else:
                still_waiting.append(run)
        waiting[:] = still_waiting
        return ready

    def _has_room(self) -> bool:
        """Whether steps can begin: one that could not journal its first command would only fail."""
        room = self._bench.journal.has_room
        if room != self._room:
            self._room = room
            if not room:
                log.error("no step begins: the disk of %s is full; free some space", self._bench.journal.folder)
        return room

    def _claim(self, runs: list[AttemptRun]) -> list[AttemptRun]:
        """Claim attempts and submit those that are ours; return those of which we do not know."""
        if not runs:
            return []
        try:
            inserted = self._store.insert_many("attempts", [run.claim_record() for run in runs])
            ours = [run for run, new in zip(runs, inserted, strict=True) if new]
            doubtful = [run for run, new in zip(runs, inserted, strict=True) if not new]
        except (StoreError, DocumentRefusedError) as error:
            log.warning("claims are not certain: %s", error)
            ours, doubtful = [], runs
        for run in ours:
            self._begin(run)
        if not doubtful:
            return []
        try:
            records = self._store.find_ids("attempts", [run.attempt_id for run in doubtful])
        except StoreError:
            return doubtful
        found = {record["_id"]: record for record in records}
        unknown = []
        for run in doubtful:
            record = found.get(run.attempt_id)
            if record is not None and record["nonce"] == run.nonce:
                self._begin(run)
            elif record is not None or past_deadline(run.order):
                state = record["state"] if record else "too late"
                log.info("%s is not ours (%s) and is dropped", run.attempt_id, state)
                self._let_go(run)
            else:
                unknown.append(run)
        return unknown

    def _begin(self, run: AttemptRun) -> None:
        run.journal_claim()
        self._submit(run)

    def _let_go(self, run: AttemptRun) -> None:
        self._known.discard(run.attempt_id)
        self._bench.guard.release(run, run.devices)

    def _close_refused(self, refused: list[tuple[AttemptRun, str]]) -> list[tuple[AttemptRun, str]]:
        """Close refused orders by the very insert that would have claimed them."""
        if not refused:
            return []
        try:
            self._store.insert_many("attempts", [run.refusal_record(reason) for run, reason in refused])
        except StoreError:
            return [(run, reason) for run, reason in refused if not past_deadline(run.order)]
        for run, reason in refused:
            log.warning("%s is refused: %s", run.attempt_id, reason)
        self._bench.live.ring()
        return []

    def forget(self, attempt_id: str) -> None:
        """The attempt is closed in the store: a late second delivery will find it there."""
        self._known.discard(attempt_id)


def past_deadline(order: Order) -> bool:
    """Whether the host must not claim the order any more."""
    return datetime.now(UTC) >= order.deadline_at
