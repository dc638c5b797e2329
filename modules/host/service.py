"""A host, put together: started in the one right order, and ended in the reverse."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import redis
from pymongo.errors import PyMongoError

from analysis.arrays import discard_unfinished
from analysis.documents import DocumentStore, StoreError
from modules.contract import clock as lab_clock
from modules.contract import lab as lab_file
from modules.contract.clock import LabClock
from modules.contract.messages import CONTROL_CHANNEL, LATCH_BELL, SCHEDULER_BELL, Latch
from modules.contract.ready import announce_ready
from octolab.ids import new_id

from .attempt import Bench
from .claims import Claimer
from .controls import Controls
from .executor import Executor
from .guard import Guard
from .heartbeat import Heartbeat
from .interlocks import Interlocks
from .journal import Journal
from .live import Live, connect_redis
from .packages import Module, load_modules
from .plugging import plug_in
from .recovery import begin_incarnation, close_what_was_left
from .shipper import Shipper
from .standstill import Standstill
from .wirelog import WireLog
from .worker import build_celery, serve

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

RETRY_S = 1.0
FINISH_S = 60.0
"""How long running steps may take to end after the host was asked to end."""
SHIP_S = 10.0


@dataclass(frozen=True)
class Settings:
    """Where a host finds everything."""

    lab: Path
    name: str
    mongo_url: str
    redis_url: str
    data_root: Path
    finish_s: float = FINISH_S


class Host:
    """One host process.

    Raises
    ------
    LabFileError, PackageError, JournalError
        The host cannot run as it is set up.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lab = lab_file.load(settings.lab)
        self._modules = load_modules(self._lab, settings.name)
        self._journal = Journal(settings.data_root / "hosts" / settings.name / "journal")
        self._incarnation = str(new_id())
        self._past = begin_incarnation(self._journal, self._incarnation)
        self._store = DocumentStore(settings.mongo_url)
        self._executor = Executor()

    def run(self) -> None:
        """Serve until the process is asked to end."""
        settings, journal, store = self._settings, self._journal, self._store
        clock = self._wait_for_the_lab()
        guard = Guard(_scopes(self._modules.values()))
        wire_log = WireLog(store, settings.name, clock, guard.user)
        links = settings.data_root / "simulation"
        rack = plug_in(self._lab, self._modules.values(), clock, guard, wire_log.on_wire, links)
        client = connect_redis(settings.redis_url)
        live = Live(client)
        standstill = Standstill(lambda: controls.look())
        bench = Bench(
            *(settings.name, self._incarnation, clock, journal, guard, rack, live, settings.data_root),
            before_motion=standstill.before_motion,
            interlocked=lambda module, devices: interlocks.covers(module, devices),
        )
        shipper = Shipper(journal, store, live)
        claimer = Claimer(bench, self._modules, store, self._executor.submit)
        guard.on_release = claimer.look_again
        shipper.on_closed = claimer.forget
        controls = Controls(bench, self._executor, store, client)
        interlocks = Interlocks(
            self._lab.interlocks, guard.devices_in, bench, self._executor, store, controls.latch,
            partial(_publish, client),
        )  # fmt: skip
        hashes = {instance: module.hash for instance, module in self._modules.items()}
        heartbeat = Heartbeat(settings.name, self._incarnation, hashes, self._past.incarnations, rack, store, live)
        self._until_the_store_answers(controls.look)
        for part in (live, shipper, wire_log, heartbeat, controls, standstill, claimer, interlocks):
            part.start()
        try:
            serve(
                build_celery(settings.redis_url),
                self._modules,
                take=claimer.take,
                on_malformed=_malformed,
                on_ready=self._ready,
            )
        except SystemExit:
            log.info("asked to end")
        finally:
            claimer.stop()
            interlocks.stop()
            self._finish_running()
            controls.stop()
            standstill.stop()
            if not shipper.stop(SHIP_S):
                log.warning("%d records wait in the journal for the next start", journal.backlog)
            wire_log.stop()
            heartbeat.stop()
            live.stop()
            rack.close()
            journal.close()
            store.close()

    def _ready(self) -> None:
        serves = ", ".join(self._modules)
        log.info("host %s serves %s", self._settings.name, serves)
        announce_ready(f"serves {serves}")

    def _finish_running(self) -> None:
        """Let running steps end; those that do not are asked to give up."""
        if self._executor.wait_until_idle(self._settings.finish_s):
            return
        for run in self._executor.running:
            log.warning("%s did not end in time and is aborted", run.attempt_id)
            run.interruptions.give_up("octolab", "the host was shut down")
        self._executor.wait_until_idle(10)

    # ------------------------------------------------------------------ before it serves

    def _wait_for_the_lab(self) -> LabClock:
        """Attach to lab time, publish the manifests, and close what an ended incarnation left open."""
        settings = self._settings
        clock = self._until_the_store_answers(lambda: lab_clock.attach(self._store.database))
        manifests = [
            {"_id": module.hash, "schema_version": 1, "manifest": module.manifest.model_dump(mode="json")}
            for module in self._modules.values()
        ]
        unique = list({manifest["_id"]: manifest for manifest in manifests}.values())
        self._until_the_store_answers(lambda: self._store.insert_many("manifests", unique))
        left = self._until_the_store_answers(
            lambda: close_what_was_left(self._journal, self._store, self._past, settings.name, clock.now())
        )
        for path in discard_unfinished(settings.data_root, left):
            log.warning("%s was never finished and is removed", path)
        return clock

    def _until_the_store_answers(self, ask: Callable[[], Answer]) -> Answer:
        told = False
        while True:
            try:
                return ask()
            except (StoreError, PyMongoError, LookupError) as error:
                if not told:
                    log.warning("waiting: %s", error)
                    told = True
                time.sleep(RETRY_S)


def _scopes(modules: Iterable[Module]) -> dict[str, frozenset[str]]:
    """Return which module instances use each device."""
    users: dict[str, set[str]] = {}
    for module in modules:
        for ids in module.devices.values():
            for device in ids:
                users.setdefault(device, set()).add(module.instance)
    return {device: frozenset(instances) for device, instances in users.items()}


def _publish(client: redis.Redis, latch: Latch) -> None:
    """Tell other hosts and the scheduler of an emergency stop that an interlock has tripped."""
    try:
        client.publish(CONTROL_CHANNEL, latch.model_dump_json())
        client.publish(SCHEDULER_BELL, LATCH_BELL)
    except redis.RedisError as error:
        log.error("other hosts will see the emergency stop in the document store: %s", error)


def _malformed(why: str) -> None:
    log.error("an order that makes no sense is dropped: %s", why)
