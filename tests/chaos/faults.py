"""Faults: each is begun, lasts, and is undone. What comes when is drawn beforehand from the seed alone."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import redis

from octolab.ids import new_id
from tests.stack.processes import ROOT

from . import lab as chaos_lab
from .lab_under_fire import LabUnderFire, Missed
from .people import Listener

BACK_WITHIN_S = 40.0
SERVER = ("web", "scheduler", "services")
STORES = ("redis", "documents")


@dataclass(frozen=True)
class Fault:
    """One fault of a schedule."""

    kind: str
    target: str
    seconds: float
    number: int
    """For whatever else is to be chosen."""
    pause_s: float
    """Until the next one begins."""
    overlaps: bool
    """Whether the next one begins while this one lasts."""

    def __str__(self) -> str:
        return f"{self.kind} {self.target} {self.seconds:.1f} s"


@dataclass
class Scene:
    """What faults are done to."""

    lab: LabUnderFire
    listener: Listener


def schedule(seed: str, *, silver: bool) -> Iterator[Fault]:
    """Yield faults for ever: every kind as often as its weight says, in an order that the seed decides."""
    chance = random.Random(f"{seed}/faults")
    hosts, devices = chaos_lab.hosts(), chaos_lab.devices()
    all_hosts = (*hosts, chaos_lab.SILVER_HOST) if silver else hosts
    devices = (*devices, *chaos_lab.SILVER_DEVICES) if silver else devices
    queues = (*chaos_lab.VIRTUAL, "batch_synthesis") if silver else chaos_lab.VIRTUAL
    targets: dict[str, tuple[str, ...]] = {
        "kill": (*SERVER, *STORES, *all_hosts, *(() if silver else ("simulation",))),
        "terminate": (*SERVER, *STORES, *all_hosts),
        "freeze": (*SERVER, *STORES, *all_hosts),
        "kill_in_step": all_hosts,
        "terminate_in_step": all_hosts,
        "silence": devices,
        "garbage": devices,
        "slow": devices,
        "unplug": devices,
        "drop": devices,
        "stall": devices,
        "reboot": devices,
        "delayed_messages": queues,
        "doubled_messages": queues,
        "reordered_messages": queues,
    }
    decks: dict[str, list[str]] = {}

    def draw(name: str, cards: list[str]) -> str:
        deck = decks.setdefault(name, [])
        if not deck:
            deck += cards
            chance.shuffle(deck)
        return deck.pop()

    kinds = [kind for kind, (_, weight) in KINDS.items() for _ in range(weight)]
    while True:
        kind = draw("", kinds)
        yield Fault(
            kind=kind,
            target=draw(kind, list(targets[kind])) if kind in targets else "",
            seconds=chance.choice((1.0, 2.0, 3.0, 5.0, 5.0, 8.0, 14.0)) if kind == "freeze" else chance.uniform(1, 5),
            number=chance.randrange(1 << 30),
            pause_s=chance.choice((0.0, 0.3, 1.0, 2.0, 3.0)),
            overlaps=chance.random() < 0.2,
        )


def do(fault: Fault, scene: Scene) -> None:
    """Do a fault and undo it.

    Raises
    ------
    Missed
        If it could not be done.
    """
    KINDS[fault.kind][0](scene, fault)


# --- processes ----------------------------------------------------------------------------------------------------


def _kill(scene: Scene, fault: Fault, number: signal.Signals = signal.SIGKILL) -> None:
    pid = scene.lab.signal(fault.target, number)
    scene.lab.wait_until_back(fault.target, pid, BACK_WITHIN_S)


def _terminate(scene: Scene, fault: Fault) -> None:
    _kill(scene, fault, signal.SIGTERM)


def _in_step(scene: Scene, fault: Fault, number: signal.Signals = signal.SIGKILL) -> None:
    scene.lab.pid(fault.target)
    before_s, give_up_s = time.monotonic(), time.monotonic() + 15
    while scene.lab.last_motion_s() < before_s and time.monotonic() < give_up_s:
        time.sleep(0.01)
    _kill(scene, fault, number)


def _terminate_in_step(scene: Scene, fault: Fault) -> None:
    _in_step(scene, fault, signal.SIGTERM)


def _freeze(scene: Scene, fault: Fault) -> None:
    with _frozen(scene.lab, fault.target):
        time.sleep(fault.seconds)


@contextlib.contextmanager
def _frozen(lab: LabUnderFire, name: str) -> Iterator[None]:
    pid = lab.signal(name, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _documents_gone(scene: Scene, fault: Fault) -> None:
    """Nobody answers for 5 s: either the port is closed, or it is open and silent."""
    _away(scene, "documents", silent=bool(fault.number & 64))


def _redis_stopped(scene: Scene, fault: Fault) -> None:
    _away(scene, "redis", silent=bool(fault.number & 64))


def _away(scene: Scene, name: str, *, silent: bool) -> None:
    old = scene.lab.pid(name)
    with _frozen(scene.lab, name) if silent else scene.lab.gone(name):
        time.sleep(5)
    if not silent:
        scene.lab.wait_until_back(name, old, BACK_WITHIN_S)


def _two_schedulers(scene: Scene, fault: Fault) -> None:
    """Start a second scheduler, and let the first one die, hang, or go on."""
    environment = scene.lab.environment_of("scheduler")
    environment.pop("NOTIFY_SOCKET", None)
    log = (scene.lab.data / "logs" / "second-scheduler.log").open("a")
    second = subprocess.Popen(
        [sys.executable, "manage.py", "scheduler"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    try:
        time.sleep(4)
        what = ("nothing", "kill", "freeze", "freeze")[fault.number % 4]
        if what == "kill":
            scene.lab.signal("scheduler", signal.SIGKILL)
        elif what == "freeze":
            # Longer than the lease: the second one takes over, and the first one wakes up believing that it leads.
            with _frozen(scene.lab, "scheduler"):
                time.sleep(14)
        time.sleep(2)
    finally:
        second.send_signal(signal.SIGKILL if fault.number & 64 else signal.SIGTERM)
        try:
            second.wait(20)
        except subprocess.TimeoutExpired:
            second.kill()
            second.wait()
        log.close()


def _restart(scene: Scene, fault: Fault) -> None:
    """Kill the supervisor, and everything with it, or ask it to end; start the whole stack again."""
    scene.lab.restart(signal.SIGKILL if fault.number & 64 else signal.SIGTERM)


# --- stores -------------------------------------------------------------------------------------------------------


def _flush(scene: Scene, fault: Fault) -> None:
    with _broker(scene.lab) as client:
        client.flushall()


@contextlib.contextmanager
def _broker(lab: LabUnderFire) -> Iterator[redis.Redis]:
    client = lab.redis()
    try:
        yield client
    except redis.RedisError as error:
        raise Missed(f"Redis is down: {error}") from error
    finally:
        client.close()


def _lock(scene: Scene, fault: Fault) -> None:
    with scene.lab.locked_database():
        time.sleep(fault.seconds)


def _lock_long(scene: Scene, fault: Fault) -> None:
    with scene.lab.locked_database():
        time.sleep(24)


def _disk_full(scene: Scene, fault: Fault) -> None:
    with scene.lab.full_disk():
        time.sleep(fault.seconds)


def _messages(scene: Scene, fault: Fault) -> None:
    """Take orders away from the hosts as they are sent, and give them back late, twice, or in another order."""
    queue = f"module.{fault.target}"
    chance = random.Random(fault.number)
    with _broker(scene.lab) as client:
        taken: list[bytes] = []
        lock, end = threading.Lock(), threading.Event()

        def take() -> None:
            with scene.lab.redis() as own, contextlib.suppress(redis.RedisError):
                while not end.is_set():
                    if found := own.blpop([queue], timeout=1):
                        with lock:
                            taken.append(found[1])

        thieves = [threading.Thread(target=take, daemon=True) for _ in range(3)]
        for thief in thieves:
            thief.start()
        give_up_s = time.monotonic() + 10
        while len(taken) < 2 and time.monotonic() < give_up_s:
            time.sleep(0.1)
        end.set()
        for thief in thieves:
            thief.join()
        if not taken:
            raise Missed("no order came by")
        if fault.kind == "delayed_messages":
            time.sleep(chance.uniform(3, 8))
        if fault.kind == "doubled_messages":
            taken += [_as_new(message) for message in taken] + taken
        chance.shuffle(taken)
        for message in taken:
            client.lpush(queue, message)
        if fault.kind == "delayed_messages":
            time.sleep(1)
            for message in taken:
                client.lpush(queue, _as_new(message))


def _as_new(message: bytes) -> bytes:
    """Return the same order as another delivery of the broker."""
    envelope = json.loads(message)
    envelope["properties"]["delivery_tag"] = str(new_id())
    return json.dumps(envelope).encode()


# --- clock, instruments, the world --------------------------------------------------------------------------------


def _clock(scene: Scene, fault: Fault) -> None:
    scene.lab.set_clock((-86_400, -3_600, -90, 90, 3_600, 86_400)[fault.number % 6])
    time.sleep(fault.seconds + 1)
    if fault.number & 64:
        scene.lab.set_clock(0)


def _instrument(scene: Scene, fault: Fault) -> None:
    order: dict[str, Any] = {"do": "fault", "instrument": fault.target, "fault": fault.kind}
    if fault.kind in ("silence", "garbage", "drop", "slow"):
        order["count"] = 1 + fault.number % 6
    if fault.kind == "slow":
        order["seconds"] = 0.5 + fault.number % 4
    scene.lab.instrument(**order)
    try:
        time.sleep(fault.seconds)
    finally:
        mend(scene, fault.target)


def mend(scene: Scene, device: str) -> None:
    """Make an instrument work again, whatever was done to it."""
    give_up_s = time.monotonic() + BACK_WITHIN_S
    for what in ("clear", "replug"):
        while True:
            try:
                scene.lab.instrument(do="fault", instrument=device, fault=what)
                break
            except Missed:
                if time.monotonic() > give_up_s:
                    return
                time.sleep(0.3)


def _deaf(scene: Scene, fault: Fault) -> None:
    scene.listener.broken.set()
    try:
        time.sleep(fault.seconds)
    finally:
        scene.listener.broken.clear()


KINDS: dict[str, tuple[Callable[[Scene, Fault], None], int]] = {
    "kill": (_kill, 8),
    "terminate": (_terminate, 5),
    "freeze": (_freeze, 6),
    "kill_in_step": (_in_step, 3),
    "terminate_in_step": (_terminate_in_step, 1),
    "restart_stack": (_restart, 1),
    "two_schedulers": (_two_schedulers, 2),
    "flush_redis": (_flush, 2),
    "redis_stopped": (_redis_stopped, 2),
    "documents_gone": (_documents_gone, 2),
    "database_locked": (_lock, 2),
    "database_locked_long": (_lock_long, 1),
    "disk_full": (_disk_full, 2),
    "delayed_messages": (_messages, 1),
    "doubled_messages": (_messages, 2),
    "reordered_messages": (_messages, 1),
    "clock_step": (_clock, 2),
    "silence": (_instrument, 1),
    "garbage": (_instrument, 1),
    "slow": (_instrument, 1),
    "unplug": (_instrument, 1),
    "drop": (_instrument, 1),
    "stall": (_instrument, 1),
    "reboot": (_instrument, 1),
    "channel_down": (_deaf, 1),
}
"""Kind → what it does, and how often it comes."""
