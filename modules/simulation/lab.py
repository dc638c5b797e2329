"""A whole simulated lab: the world, its instruments, their ports, its snapshots."""

from __future__ import annotations

import importlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.contract.hands import CONTROL
from modules.contract.ready import announce_ready
from modules.drivers.address import SIMULATED
from modules.simulation.clock import Clock
from modules.simulation.control import ControlSocket
from modules.simulation.faults import LASTING
from modules.simulation.instrument import SimulatedInstrument
from modules.simulation.link import PtyLink
from modules.simulation.log import CommandLog
from modules.simulation.loop import Loop
from modules.simulation.world import World

LOG, STATE = "commands.jsonl", "world.json"
SCHEMA_VERSION = 1


class SimulatedLab:
    """Simulated instruments in one world.

    Parameters
    ----------
    world : World
        Where they stand; a snapshot in ``data`` replaces what is in it.
    instruments : sequence of mapping
        The instruments' sections of the lab file: ``id``, ``simulator`` (dotted path,
        ``package.module:Class``), ``address`` (``sim://<link>``; instruments with the same address share a
        bus) and settings. Sections without ``simulator`` are left out: these instruments are real.
    clock : Clock
        Lab time. For a simulation that is started again it must go on where it stopped.
    links : pathlib.Path
        Folder for the ports' links and the control socket.
    data : pathlib.Path, optional
        Folder for ``commands.jsonl`` and ``world.json``; ``links`` by default.
    seed : int, optional
        For noise and garbage.
    """

    def __init__(
        self,
        world: World,
        instruments: Sequence[Mapping[str, Any]],
        clock: Clock,
        *,
        links: Path,
        data: Path | None = None,
        seed: int = 0,
    ) -> None:
        data = data or links
        for folder in (links, data):
            folder.mkdir(parents=True, exist_ok=True)
        self.world = world
        self.clock = clock
        self.seed = seed
        self.dirty = False
        self.loop = Loop(clock)
        self.log = CommandLog(data / LOG, clock)
        self.instruments: dict[str, SimulatedInstrument] = {}
        self._state = data / STATE
        self._links: dict[str, PtyLink] = {}
        self._link_of: dict[str, PtyLink] = {}
        self._control = ControlSocket(links / CONTROL, self.loop, self.command)
        self._thread: threading.Thread | None = None
        for section in instruments:
            if section.get("simulator"):
                self._add(section, links)
        self._restore()

    def _add(self, section: Mapping[str, Any], links: Path) -> None:
        name = str(section["id"])
        if name in self.instruments:
            raise ValueError(f"two instruments are called {name!r}")
        address = str(section.get("address", ""))
        if not address.startswith(SIMULATED):
            raise ValueError(f"{name}: a simulated instrument's address begins with {SIMULATED}, not {address!r}")
        instrument = _class_at(name, str(section["simulator"]))(self, section)
        link = self._links.get(address)
        if link is None:
            link = _Bus(links / address.removeprefix(SIMULATED), self.loop)
            self._links[address] = link
        assert isinstance(link, _Bus)  # noqa: S101 - all are made above
        link.attach(instrument)
        self._link_of[name] = link
        self.instruments[name] = instrument

    # ------------------------------------------------------------------ running

    def run(self) -> None:
        """Plug everything in and run until `stop`; all in the calling thread."""
        self.log.write("start", "", instruments=sorted(self.instruments))
        self._control.open()
        for link in self._links.values():
            link.plug()
        announce_ready(f"{len(self.instruments)} instruments")
        try:
            self.loop.run(self._save)
        finally:
            for link in self._links.values():
                link.unplug()
            self._control.close()
            self._save()
            self.loop.close()
            self.log.close()

    def start(self) -> None:
        """Run in a thread; returns when the ports are there."""
        ready = threading.Event()
        self.loop.call(ready.set)
        self._thread = threading.Thread(target=self.run, name="simulated lab", daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise TimeoutError("the simulated lab did not start")

    def stop(self) -> None:
        """End `run`; a thread made by `start` is waited for."""
        self.loop.stop()
        if self._thread is not None:
            self._thread.join(10)

    # ------------------------------------------------------------------ control

    def command(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Do what came through the control socket; see `modules.simulation.control`.

        Raises
        ------
        ValueError, KeyError
            The order makes no sense.
        """
        what = order["do"]
        if what == "fault":
            extras = {key: order[key] for key in ("count", "seconds") if key in order}
            self._fault(order["instrument"], order["fault"], **extras)
        elif what == "fill":
            if order["place"] in self.world.standing or order["place"] not in self.world.places:
                raise ValueError(f"cannot put a vessel at {order['place']}")
            self.world.new_vessel(order["place"], self.clock.now())
        elif what == "remove":
            vessel = self.world.standing.pop(order["place"])
            self.dirty = True
            return {"vessel": vessel.id}
        elif what == "collect":
            self.world.collect(order["place"], self.clock.now())
        elif what == "tidy":
            self.instruments[order["instrument"]].tidy()
        elif what == "refill":
            self._refill(order)
        elif what == "restock":
            self._restock(str(order["stock"]).lower(), float(order["level"]))
        elif what == "state":
            return {"world": self.world.snapshot()}
        else:
            raise ValueError(f"no order {what!r}")
        self.dirty = True
        return {}

    def fault(self, instrument: str, fault: str, **extras: Any) -> None:
        """Ask for a fault, from any thread; returns when it is in force."""
        done = threading.Event()
        problem: list[Exception] = []

        def strike() -> None:
            try:
                self._fault(instrument, fault, **extras)
            except (KeyError, ValueError) as error:
                problem.append(error)
            done.set()

        self.loop.call(strike)
        if not done.wait(10):
            raise TimeoutError("the simulated lab does not run")
        if problem:
            raise problem[0]

    def _fault(self, name: str, fault: str, count: int | None = None, seconds: float = 0.0) -> None:
        instrument, link = self.instruments[name], self._link_of[name]
        if fault == "stall":
            instrument.stall()
        elif fault in LASTING:
            instrument.faults.set(fault, count, seconds)
        elif fault == "clear":
            instrument.faults.clear()
        elif fault == "unplug":
            link.unplug()
        elif fault == "replug":
            link.plug()
        elif fault == "reboot":
            instrument.reboot()
        else:
            raise ValueError(f"no fault {fault!r}")
        self.log.write("fault", name, fault=fault, count=count, seconds=seconds)

    def _refill(self, order: Mapping[str, Any]) -> None:
        instrument = self.instruments[order["instrument"]]
        if "tips" in order:
            instrument.memory["tips"] = int(order["tips"])
        elif hasattr(instrument, "refill"):
            instrument.refill(float(order["volume_ul"]), order.get("concentration_mm"))
        else:
            raise ValueError(f"{order['instrument']} has nothing to refill")

    def _restock(self, stock: str, level: float) -> None:
        for instrument in self.instruments.values():
            if stock == "tips" and "tips" in instrument.memory:
                instrument.memory["tips"] = int(level)
                return
            if stock == getattr(instrument, "species", None):
                self._refill({"instrument": instrument.id, "volume_ul": level * 1000.0})
                return
        raise ValueError(f"no instrument keeps {stock}")

    # ------------------------------------------------------------------ snapshots

    def _save(self) -> None:
        if not self.dirty:
            return
        self.dirty = False
        saved = {
            "schema_version": SCHEMA_VERSION,
            "lab_time": self.clock.now(),
            "world": self.world.snapshot(),
            "instruments": {n: i.snapshot() for n, i in self.instruments.items() if i.saved},
        }
        fresh = self._state.with_suffix(".new")
        fresh.write_text(json.dumps(saved, separators=(",", ":")))
        os.replace(fresh, self._state)

    def _restore(self) -> None:
        if not self._state.exists():
            return
        saved = json.loads(self._state.read_text())
        self.world.restore(saved["world"])
        for name, state in saved["instruments"].items():
            if name in self.instruments:
                self.instruments[name].restore(state)


class _Bus(PtyLink):
    """A port with one instrument behind it, or several that tell their commands by a key."""

    def __init__(self, path: Path, loop: Loop) -> None:
        super().__init__(path, loop, self._cut)
        self._attached: list[SimulatedInstrument] = []
        self._by_key: dict[str | None, SimulatedInstrument] = {}

    def attach(self, instrument: SimulatedInstrument) -> None:
        """Put an instrument on the line."""
        if instrument.bus_key in self._by_key:
            raise ValueError(f"{instrument.id}: {self.path.name} has another instrument with this bus address")
        if not self._attached:
            self._cutter = instrument.cutter()
        self._attached.append(instrument)
        self._by_key[instrument.bus_key] = instrument
        instrument.send = self.write

    def _cut(self, data: bytes) -> None:
        for command in self._cutter.feed(data):
            key = self._attached[0].key_of(command)
            instrument = self._by_key.get(key) if key is not None else self._attached[0]
            if instrument is not None:
                instrument.receive(command)


def _class_at(name: str, path: str) -> type[SimulatedInstrument]:
    module, colon, attribute = path.partition(":")
    if not colon:
        raise ValueError(f"{name}: simulator must be package.module:Class, not {path!r}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{name}: cannot import simulator {path!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, SimulatedInstrument)):
        raise ValueError(f"{name}: {path!r} is no SimulatedInstrument")
    return found
