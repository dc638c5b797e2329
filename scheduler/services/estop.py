"""The emergency stop: any lab member may trip it, operators re-arm it with a note.

A trip waits for nobody. It writes nothing to the relational database; it goes over Redis to the hosts' control threads
and, at the same time, into the document store, where hosts look once a second. What came of it is read from what the
hosts write down for each device. The scheduler reads the same documents and writes the event log from them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import redis
from django.conf import settings
from django.db import DatabaseError

from analysis.documents import DocumentStore, StoreError
from analysis.results import store
from modules.contract.lab import Lab, load
from modules.contract.messages import CONTROL_CHANNEL, LATCH_BELL, LATCH_LOG, SCHEDULER_BELL, Latch
from scheduler.models import Device
from users import audit
from users.models import User
from users.permissions import require

LAB = "lab"
"""The scope of the whole lab; any other scope is a module instance."""
CONFIRM_WITHIN_S = 1.5
"""The longest wait for the devices' confirmations, real seconds."""
HAND_OVER_S = 0.5
"""The longest that :func:`trip` waits for Redis and the document store."""
KEEP_TRYING_S = 600.0
"""How long (real seconds) a trip that the document store does not have is tried on, over both ways."""
_LOOK_S = 0.02
_RETRY_S = 0.25
_TIMEOUTS: dict[str, Any] = {"socket_timeout": 1.0, "socket_connect_timeout": 0.5}

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_clients: dict[str, redis.Redis] = {}
_known: dict[str, int] = {}
"""Scope → the highest serial that this process has seen."""
_not_stored: dict[str, Trip] = {}
"""Scope → the last trip of this process that the document store does not have yet."""


class UnknownScopeError(ValueError):
    """There is no such module; the text names those that there are."""


class NotTrippedError(ValueError):
    """There is nothing to re-arm."""


@dataclass
class Trip:
    """One trip of the emergency stop.

    Attributes
    ----------
    latch
        What was written; its serial is raised if a re-arm was newer.
    first_serial
        The serial that was tried first: confirmations from there on count.
    devices
        Ids of the devices in its scope.
    heard
        How many hosts were reached over Redis; 0 if Redis is away.
    stored
        Whether the document store has it. If not, both ways are tried on for ten minutes.
    """

    latch: Latch
    first_serial: int
    devices: list[str] = field(default_factory=list)
    heard: int = 0
    stored: bool = False
    over_redis: threading.Event = field(default_factory=threading.Event)
    in_store: threading.Event = field(default_factory=threading.Event)
    kept: threading.Event = field(default_factory=threading.Event)
    """Set once the document store has it, so that no host can miss it any more."""


def trip(user: User, scope: str = LAB, reason: str = "") -> Trip:
    """Trip the emergency stop of a module or of the whole lab.

    Returns as soon as both ways were taken, at the latest after :data:`HAND_OVER_S`.

    Raises
    ------
    UnknownScopeError
        If the lab has no such module.
    PermissionDenied
        If the account is not active.
    """
    require(user.is_active, "This account is not active.")
    return trip_as(user.get_username(), scope, reason)


def trip_as(actor: str, scope: str = LAB, reason: str = "") -> Trip:
    """Do the same in the name of somebody whom the operating system has let in.

    Raises
    ------
    UnknownScopeError
        If the lab has no such module.
    """
    _check(scope)
    latch = _latch(scope, True, actor, reason)
    made = Trip(latch, latch.serial)
    _not_stored[scope] = made
    for way in (_ring, _keep):
        threading.Thread(target=way, args=(made,), name=f"estop {way.__name__}", daemon=True).start()
    give_up_s = time.monotonic() + HAND_OVER_S
    made.devices = devices_in(scope)
    made.over_redis.wait(HAND_OVER_S)
    made.in_store.wait(max(0.0, give_up_s - time.monotonic()))
    _log.warning("emergency stop of %s tripped by %s: %s", scope, made.latch.actor, reason)
    return made


def rearm(user: User, scope: str, note: str) -> Latch:
    """Re-arm a tripped emergency stop. Devices are then as they say they are.

    Raises
    ------
    UnknownScopeError, NotTrippedError
        If there is no such module, or its emergency stop is not tripped.
    PermissionDenied
        If the user does not operate the module, or for the lab, all modules.
    StoreError
        If the document store is away; the emergency stop stays tripped.
    """
    _check(scope)
    require(may_rearm(user, scope), f"Only operators of {'all modules' if scope == LAB else scope} may re-arm this.")
    found = store().find_ids("latches", [scope])
    if not found or not found[0]["tripped"]:
        raise NotTrippedError(f"The emergency stop of {scope} is not tripped.")
    latch = _latch(scope, False, user.get_username(), note, above=int(found[0]["serial"]))
    if not _write(store(), latch, found):
        raise NotTrippedError(f"Somebody else has just changed the emergency stop of {scope}. Look again.")
    _publish(latch)
    _log.warning("emergency stop of %s re-armed by %s: %s", scope, latch.actor, note)
    audit.note("estop.rearm", scope, actor=user, said=note)
    return latch


def may_rearm(user: User, scope: str) -> bool:
    """Tell whether the user may re-arm this scope: an operator of the module, or of all modules for the lab."""
    return all(user.operates(module) for module in ([scope] if scope != LAB else scopes()[1:]))


def scopes() -> list[str]:
    """Return the lab and its modules: all that can be stopped by itself."""
    return [LAB, *sorted(_lab(settings.LAB_FILE).modules)]


def latches() -> list[Latch]:
    """Return the emergency stops that were ever tripped, as they are now.

    Raises
    ------
    StoreError
        If the document store is away.
    """
    found = [Latch.model_validate(_without_id(document)) for document in store().find("latches")]
    for latch in found:
        _learn(latch)
    return sorted(found, key=lambda latch: (latch.scope != LAB, latch.scope))


def outcome(latch: Latch, devices: Iterable[str], first_serial: int | None = None) -> list[dict[str, Any]]:
    """Return for each device whether it confirmed its safe state after a trip.

    Parameters
    ----------
    first_serial
        Confirmations of this serial or a later one count; the latch's own by default.
    """
    reports: dict[str, dict[str, Any]] = {}
    trouble = "its host has not answered"
    condition = {"scope": latch.scope, "serial": {"$gte": latch.serial if first_serial is None else first_serial}}
    try:
        for document in store().find("safe_states", condition):
            if document["confirmed"] or document["device"] not in reports:
                reports[document["device"]] = document
    except StoreError:
        trouble = "the document store is away, so nobody can tell"
    missing = {"confirmed": False, "text": trouble, "took_s": None}
    return [
        {
            "device": device,
            "reported": device in reports,
            **{name: reports.get(device, missing)[name] for name in ("confirmed", "text", "took_s")},
        }
        for device in devices
    ]


def not_stored() -> list[Trip]:
    """Return the trips of this process that only wait for the document store to come back."""
    return [made for made in list(_not_stored.values()) if not made.stored]


def confirmations(made: Trip) -> list[dict[str, Any]]:
    """Return what is known of each device of a trip now, without waiting for a store that is away."""
    if made.stored:
        return outcome(made.latch, made.devices, made.first_serial)
    text = "the document store is away, so nobody can tell"
    if not made.heard:
        text = "NOT told to stop: neither Redis nor the document store answers. It is told as soon as one of them does"
    return [
        {"device": name, "reported": False, "confirmed": False, "text": text, "took_s": None} for name in made.devices
    ]


def wait_for_outcome(made: Trip, wait_s: float = CONFIRM_WITHIN_S) -> list[dict[str, Any]]:
    """Return each device's confirmation, waiting at most for so long (real seconds) for those that are missing."""
    until_s = time.monotonic() + wait_s
    while True:
        found = confirmations(made)
        if all(row["reported"] for row in found) or time.monotonic() >= until_s:
            return found
        time.sleep(_LOOK_S)


def devices_in(scope: str) -> list[str]:
    """Return the ids of the devices that a scope covers."""
    listed = [device.id for device in _lab(settings.LAB_FILE).devices]
    if scope == LAB:
        return listed
    try:
        rows = Device.objects.order_by("id").values_list("id", "modules")
        return [device for device, modules in rows if scope in modules and device in listed]
    except DatabaseError:
        _log.warning("the database is away: all devices are listed for %s", scope)
        return listed


# --- the two ways


def _ring(made: Trip) -> None:
    """Tell the hosts over Redis, again and again until the store has it: some may hear of it only later."""
    give_up_s = time.monotonic() + KEEP_TRYING_S
    while True:
        try:
            made.heard = max(made.heard, _publish(made.latch, quiet=made.over_redis.is_set()))
        finally:
            made.over_redis.set()
        superseded = _not_stored.get(made.latch.scope) is not made
        if made.kept.wait(_RETRY_S) or superseded or time.monotonic() > give_up_s:
            return


def _keep(made: Trip) -> None:
    """Write the latch into the store, however long that takes; a latch that is newer and tripped will do."""
    give_up_s = time.monotonic() + KEEP_TRYING_S
    first = True
    while time.monotonic() < give_up_s:
        try:
            found = store().find_ids("latches", [made.latch.scope])
            stored = int(found[0]["serial"]) if found else 0
            if stored >= made.latch.serial:
                if found[0]["tripped"] or not first:
                    # Tripped anyway, or an operator has re-armed since.
                    break
                # A clock went back: hosts would take the trip for old news.
                made.latch = made.latch.model_copy(update={"serial": stored + 1})
                _publish(made.latch)
            if _write(store(), made.latch, found):
                break
        except StoreError as error:
            if first:
                _log.error("the emergency stop cannot be stored yet, and is tried again: %s", error)
            first = False
            made.in_store.set()
            time.sleep(_RETRY_S)
    else:
        _log.error("the emergency stop of %s was never stored: given up after %g s", made.latch.scope, KEEP_TRYING_S)
        return
    made.stored = True
    made.in_store.set()
    made.kept.set()
    if _not_stored.get(made.latch.scope) is made:
        del _not_stored[made.latch.scope]
    _ring_scheduler()


def _write(documents: DocumentStore, latch: Latch, found: list[dict[str, Any]]) -> bool:
    """Write a latch over the one that was found; False if it was changed meanwhile."""
    content = latch.model_dump(mode="json")
    if found:
        written = documents.update_if("latches", latch.scope, {"serial": int(found[0]["serial"])}, content)
    else:
        written = documents.insert_many("latches", [{"_id": latch.scope, **content}])[0]
    if written:
        documents.insert_many(LATCH_LOG, [{"_id": f"{latch.scope}/{latch.serial}", **content}])
        _learn(latch)
    return written


def _publish(latch: Latch, *, quiet: bool = False) -> int:
    """Tell the hosts and the scheduler over Redis; return how many hosts were reached."""
    _learn(latch)
    try:
        with _client().pipeline(transaction=False) as pipe:
            pipe.publish(CONTROL_CHANNEL, latch.model_dump_json())
            pipe.publish(SCHEDULER_BELL, LATCH_BELL)
            return int(pipe.execute()[0])
    except (redis.RedisError, OSError) as error:
        level = logging.DEBUG if quiet else logging.ERROR
        _log.log(level, "hosts will see the emergency stop in the document store: Redis is away (%s)", error)
        return 0


def _ring_scheduler() -> None:
    try:
        _client().publish(SCHEDULER_BELL, LATCH_BELL)
    except (redis.RedisError, OSError) as error:
        _log.info("the scheduler looks by itself: %s", error)


# --- helpers


def _latch(scope: str, tripped: bool, actor: str, reason: str, *, above: int = 0) -> Latch:
    # Wall time in milliseconds, so that nothing has to be read first; never below what is known.
    now = datetime.now(UTC)
    serial = max(int(now.timestamp() * 1000), _known.get(scope, 0) + 1, above + 1)
    return Latch(scope=scope, tripped=tripped, serial=serial, actor=actor, reason=reason, at=now)


def _learn(latch: Latch) -> None:
    _known[latch.scope] = max(latch.serial, _known.get(latch.scope, 0))


def _check(scope: str) -> None:
    known = scopes()
    if scope not in known:
        raise UnknownScopeError(f"There is no module {scope[:64]!r}. What can be stopped: {', '.join(known)}.")


def _client() -> redis.Redis:
    url = settings.REDIS_URL
    with _lock:
        if url not in _clients:
            _clients[url] = redis.Redis.from_url(url, **_TIMEOUTS)
        return _clients[url]


@lru_cache(maxsize=4)
def _lab(path: Any) -> Lab:
    return load(path)


def _without_id(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "_id"}
