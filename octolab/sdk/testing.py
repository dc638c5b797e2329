"""Try a task of a module without a server: the same executor, guard, journal and documents as on a host.

::

    bench = TestBench(our_furnace, {"furnace": Furnace("furnace", port)})
    done = bench.run("anneal", {"temperature": 200, "time": 60})
    assert done.state == "completed"
    assert done.results["reached"] == pytest.approx(200, abs=2)
    assert done.commands == ["furnace: RAMP 200", "furnace: RAMP 20"]

Devices may be simulated instruments behind a pty, or anything else that a driver can speak to. `simulated_bench` takes
drivers and simulated instruments from a lab file::

    with simulated_bench(Path("lab.toml"), "our_furnace") as bench:
        done = bench.run("anneal", {"temperature": 200, "time": 60})
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from modules.contract.arithmetic import evaluate
from modules.contract.clock import Clock, LabClock
from modules.contract.lab import Lab, load
from modules.contract.manifest import Manifest, Step, Task
from modules.contract.messages import Control, ControlVerb, Member, Order, OrderedStep, Outcome
from modules.host.attempt import AttemptRun, Bench
from modules.host.executor import execute
from modules.host.guard import Guard
from modules.host.journal import Journal
from modules.host.live import Live
from modules.host.packages import Module, load_module
from modules.host.plugging import watch
from modules.host.rack import Rack
from modules.simulation import testing as simulation
from octolab.ids import new_id

INSTANCE = "module"


@dataclass(frozen=True)
class Done:
    """What became of a task.

    Attributes
    ----------
    state : str
        ``"completed"``, ``"failed"``, ``"aborted"`` or ``"interrupted"``.
    error, reason : str
        As a user would read them.
    outcomes : tuple of Outcome
        One per member.
    commands : list of str
        Intents that were journalled, as ``"<device>: <text>"``: each command that moves something; of an action
        declared ``repeat_safe`` only the first.
    progress : list of tuple
        What was told on the way: (fraction or None, text).
    documents : dict
        Collection → event-model documents, in their order.
    data_root : pathlib.Path
        Array references are relative to it.
    """

    state: str
    error: str
    reason: str
    outcomes: tuple[Outcome, ...]
    commands: list[str]
    progress: list[tuple[float | None, str]]
    documents: dict[str, list[dict[str, Any]]]
    data_root: Path

    @property
    def results(self) -> dict[str, Any]:
        """Scalar results of the first member."""
        return self.outcomes[0].results

    def array(self, name: str, member: int = 0) -> Any:
        """Return an array that was recorded, as numpy array."""
        import h5py

        reference = self.outcomes[member].arrays[name]
        with h5py.File(self.data_root / reference["file"]) as file:
            return file[reference["path"]][()]


class _Listener(Live):
    """Keeps what would be told to whoever watches."""

    def __init__(self, on_progress: Callable[[], None]) -> None:
        self.heard: list[tuple[float | None, str]] = []
        self._on_progress = on_progress

    def ring(self) -> None:
        pass

    def publish(self, message: Any) -> None:
        self.heard.append((message.progress, message.text))
        self._on_progress()


class TestBench:
    """A module at a bench of its own.

    Parameters
    ----------
    package : module
        The module package, with ``manifest`` and ``ACTIONS``.
    devices : Mapping
        Local device name → driver, or a sequence of drivers.
    options : Mapping, optional
        The module's options in the lab file.
    clock : Clock, optional
        Lab time; a hundred times as fast as real time by default.
    folder : pathlib.Path, optional
        For files; a temporary one by default.
    """

    __test__ = False

    def __init__(
        self,
        package: ModuleType,
        devices: Mapping[str, Any],
        *,
        options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        folder: Path | None = None,
    ) -> None:
        options = dict(options or {})
        self.manifest: Manifest = package.manifest(options)
        groups = {local: tuple(d) if isinstance(d, Sequence) else (d,) for local, d in devices.items()}
        drivers = {driver.name: driver for group in groups.values() for driver in group}
        ids = {local: tuple(driver.name for driver in group) for local, group in groups.items()}
        self._module = Module(INSTANCE, self.manifest, self.manifest.hash(), package.ACTIONS, options, ids)
        self._clock = clock or LabClock.starting_now(scale=100.0)
        self._temporary = tempfile.TemporaryDirectory() if folder is None else None
        self._root = folder or Path(self._temporary.name)  # type: ignore[union-attr]
        self._guard = Guard(dict.fromkeys(drivers, frozenset({INSTANCE})))
        self._rack = Rack(drivers, self._guard)
        for driver in drivers.values():
            watch(driver, self._guard, lambda device, direction, data: None)
            driver.connect()

    def run(
        self,
        task: str,
        parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        places: Mapping[str, int] | None = None,
        steps: Sequence[str] | None = None,
        ask: ControlVerb | None = None,
    ) -> Done:
        """Run the attended steps of a task, one after the other.

        Parameters
        ----------
        task : str
            Its name in the manifest.
        parameters : Mapping, or sequence of Mapping, optional
            In the manifest's units, one mapping per member; what is left out has its default.
        places : Mapping, optional
            Local resource name → number of the place.
        steps : sequence of str, optional
            Only these steps.
        ask : str, optional
            ``"stop"``, ``"abort"`` or ``"halt"``: asked at the first ``ctx.progress``.
        """
        chosen = self.manifest.task(task)
        wanted = [parameters or {}] if parameters is None or isinstance(parameters, Mapping) else parameters
        members = [self._member(chosen, one, places or {}) for one in wanted]
        order = self._order(chosen, members, steps)
        journal = Journal(self._root / "journal" / new_id().hex)
        listener = _Listener(lambda: self._ask(run, ask))
        run = AttemptRun(
            Bench("test", "test", self._clock, journal, self._guard, self._rack, listener, self._root),
            self._module,
            order,
        )
        if not self._guard.reserve(run, run.devices):
            raise RuntimeError("a device is held by another run of this bench")
        execute(run)
        records = [entry.record for entry in journal.take(1_000_000, 0)]
        journal.close()
        return self._done(records, listener)

    def close(self) -> None:
        """Close the devices and remove the files."""
        self._rack.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    # ------------------------------------------------------------------

    def _member(self, task: Task, given: Mapping[str, Any], places: Mapping[str, int]) -> Member:
        properties = task.parameters.get("properties", {})
        defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
        if unknown := sorted(set(given) - set(properties)):
            raise ValueError(f"task {task.name!r} has no parameter {unknown[0]!r}")
        if missing := sorted(set(task.parameters.get("required", ())) - set(given)):
            raise ValueError(f"task {task.name!r} needs a parameter {missing[0]!r}")
        return Member(
            task_id=str(new_id()),
            sample_id=None if task.sample == "none" else str(new_id()),
            sample_name="" if task.sample == "none" else "sample",
            parameters=defaults | dict(given),
            places=dict(places),
            run_uid=str(new_id()),
        )

    def _order(self, task: Task, members: list[Member], only: Sequence[str] | None) -> Order:
        values = members[0].parameters
        ordered = [
            self._step(step, values)
            for step in task.steps
            if not step.standby and (only is None or step.name in only)
            for _ in range(int(evaluate(step.repeat, values)))
        ]
        if not ordered:
            raise ValueError(f"task {task.name!r} has no attended step to run")
        now = datetime.now(UTC)
        return Order(
            attempt_id=f"{ordered[0].step_id}/1",
            attempt=1,
            module=INSTANCE,
            task=task.name,
            manifest_hash=self._module.hash,
            steps=tuple(ordered),
            members=tuple(members),
            job_id=str(new_id()),
            job_name="test",
            project_id=str(new_id()),
            owner="test",
            simulated=True,
            fence=1,
            granted_at=now,
            deadline_at=now + timedelta(minutes=1),
        )

    def _step(self, step: Step, values: Mapping[str, Any]) -> OrderedStep:
        if step.action is None:
            raise ValueError(f"step {step.name!r} is a standby step: there is nothing to run")
        if missing := sorted(set(step.devices) - set(self._module.devices)):
            raise LookupError(f"step {step.name!r} needs a device {missing[0]!r}: give its driver to TestBench")
        return OrderedStep(
            step_id=str(new_id()),
            name=step.name,
            action=step.action,
            devices={device: mode for local, mode in step.devices.items() for device in self._module.devices[local]},
            settings={key: float(evaluate(text, values)) for key, text in step.settings.items()},
            duration_s=float(evaluate(step.duration_s, values)),
        )

    def _ask(self, run: AttemptRun, verb: ControlVerb | None) -> None:
        if verb is not None:
            at = datetime(2000, 1, 1, tzinfo=UTC)
            run.interruptions.apply(Control(attempt_id=run.attempt_id, verb=verb, actor="test", at=at))

    def _done(self, records: list[Mapping[str, Any]], listener: _Listener) -> Done:
        documents: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            if record["k"] == "doc":
                documents.setdefault(record["c"], []).append(record["d"])
        close = next(record["changes"] for record in records if record["k"] == "close")
        return Done(
            state=close["state"],
            error=close["error"],
            reason=close["reason"],
            outcomes=tuple(Outcome.model_validate(outcome) for outcome in close["outcomes"]),
            commands=[record["command"] for record in records if record["k"] == "intent"],
            progress=listener.heard,
            documents=documents,
            data_root=self._root,
        )


class SimulatedBench(TestBench):
    """A module and the simulated instruments of its lab file; see `simulated_bench`."""

    def __init__(self, package: ModuleType, module: Module, instruments: simulation.Bench, folder: Path) -> None:
        self._instruments = instruments
        drivers = {local: [instruments.device(device) for device in ids] for local, ids in module.devices.items()}
        super().__init__(package, drivers, options=module.options, clock=instruments.clock, folder=folder)

    def device(self, device_id: str) -> Any:
        """Return the driver of a device, to be called by itself."""
        return self._instruments.device(device_id)

    def fault(self, device_id: str, fault: str, **extras: Any) -> None:
        """Let a simulated instrument fail.

        Parameters
        ----------
        fault : str
            ``"silence"``, ``"garbage"``, ``"slow"`` (``seconds=``), ``"drop"`` (carried out, but the answer is lost),
            ``"stall"``, ``"unplug"``, ``"replug"``, ``"reboot"``, or ``"clear"``, which ends the others.
        count : int, optional
            How many commands or answers it concerns; all until ``"clear"`` by default.
        """
        self._instruments.lab.fault(device_id, fault, **extras)


@contextmanager
def simulated_bench(lab_file: Path, instance: str, *, scale: float = 200.0) -> Iterator[SimulatedBench]:
    """Run the simulated instruments of a lab file for a module instance of it.

    Parameters
    ----------
    lab_file : pathlib.Path
        With devices whose address begins with ``sim://``.
    instance : str
        The module, as the lab file calls it.
    scale : float, optional
        Lab seconds per real second.

    Raises
    ------
    LabFileError, PackageError
        Naming file and line.
    """
    lab = load(lab_file)
    module = load_module(lab, instance)
    with (
        tempfile.TemporaryDirectory() as folder,
        simulation.bench(Path(folder), scale=scale, sections=_sections(lab), seed=lab.seed) as instruments,
    ):
        made = SimulatedBench(sys.modules[lab.modules[instance].package], module, instruments, Path(folder))
        try:
            yield made
        finally:
            made.close()


def _sections(lab: Lab) -> list[dict[str, Any]]:
    return [
        {"id": d.id, "driver": d.driver, "address": d.address, "simulator": d.simulator, **d.options}
        for d in lab.devices
        if d.simulated
    ]
