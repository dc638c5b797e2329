"""A small module package for the host's tests: one arm, one sensor, and actions that do what a test needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from modules.drivers import DeviceError, DeviceStatus, LinkLost
from modules.drivers.status import ThreadStatus
from octolab.sdk import Action, Context, Device, Manifest, Result, Step, Task, plan_sleep


class Arm:
    """An arm in memory. Every command that reached it is a line in a file, which outlives the host."""

    parent = None

    def __init__(self, name: str, address: str, *, clock: Any, log: str) -> None:
        self.name = name
        self._log = Path(log)
        self._stop = threading.Event()
        self.before_command: Callable[[str, bytes, bool], None] = lambda device, data, moves: None
        self.on_wire: Callable[[str, str, bytes], None] = lambda device, direction, data: None
        self.position = 0.0

    def _command(self, text: str, *, moves: bool) -> None:
        self.before_command(self.name, text.encode(), moves)
        self.on_wire(self.name, "tx", text.encode())
        with self._log.open("a") as log:
            log.write(f"{self.name} {text}\n")

    def connect(self) -> None:
        self._command("ID", moves=False)
        if self._log.with_name(f"{self.name}.unplugged").exists():
            raise LinkLost(self.name, "does not answer")

    def status(self) -> DeviceStatus:
        file = self._log.with_name(f"{self.name}.load")
        return DeviceStatus("idle", {"load_n": float(file.read_text())} if file.exists() else {})

    def move(self, where: str, real_s: float = 0.0) -> None:
        stop = self._stop
        self._command(f"MOVE {where}", moves=True)
        while self._log.with_name(f"{self.name}.held").exists():
            time.sleep(0.01)
        if stop.wait(real_s):
            raise DeviceError(self.name, "was stopped", command=f"MOVE {where}", uncertain=True)

    def break_down(self, *, uncertain: bool) -> None:
        self._command("BREAK", moves=True)
        raise DeviceError(self.name, "broke", command="BREAK", uncertain=uncertain)

    def unplug(self) -> None:
        self._command("UNPLUG", moves=True)
        raise LinkLost(self.name, "was unplugged", command="UNPLUG")

    def safe_state(self) -> bool:
        before, self._stop = self._stop, threading.Event()
        before.set()
        with self._log.open("a") as log:
            log.write(f"{self.name} SAFE\n")
        return not self._log.with_name(f"{self.name}.unsafe").exists()

    def close(self) -> None:
        pass

    # Bluesky: movable and readable

    def set(self, value: float) -> ThreadStatus:
        def work() -> None:
            self.move(f"{value:g}")
            self.position = value

        return ThreadStatus(work, f"{self.name} set")

    def stop(self, success: bool = False) -> None:
        with self._log.open("a") as log:
            log.write(f"{self.name} STOP {success}\n")

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.position, "timestamp": time.time()}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "memory", "dtype": "number", "shape": [], "units": "mm"}}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


# ---------------------------------------------------------------------- actions


def noop(ctx: Context) -> None:
    pass


def mark(ctx: Context) -> None:
    """Record when the first line ran."""
    ctx.record(noise=time.time())


def moves(ctx: Context) -> None:
    """Move as often as asked, with a checkpoint before each; tidy up whatever happens."""
    count = int(ctx.parameters["count"])
    try:
        for index in range(count):
            ctx.checkpoint()
            ctx.progress(index / count, f"{index} of {count}")
            ctx.device("arm").move(str(index), ctx.parameters.get("real_s", 0.0))
            ctx.record(moved=index + 1)
    finally:
        ctx.device("arm").move("home")


def failing(ctx: Context) -> None:
    ctx.device("arm").move("0")
    match ctx.parameters["how"]:
        case "broken":
            ctx.device("arm").break_down(uncertain=False)
        case "uncertain":
            ctx.device("arm").break_down(uncertain=True)
        case "unplugged":
            ctx.device("arm").unplug()
        case _:
            raise ZeroDivisionError("a mistake in the module")


def measure(ctx: Context) -> None:
    for index, member in enumerate(ctx.members):
        if member.parameters.get("bad"):
            ctx.fail(member, "the vial was empty")
            continue
        ctx.record(member, peak_nm=400.0 + index, noise=float("nan"))
        ctx.array("absorbance", [0.1, 0.2, 0.3], axes={"wavelength": ([300, 301, 302], "nm")}, member=member)


def fill_disk(ctx: Context) -> None:
    """Make the host's disk full, then try to move."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        ctx.device("arm").move("never")
    finally:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def sleeps(ctx: Context) -> None:
    if ctx.parameters.get("move", True):
        ctx.device("arm").move("0")
    ctx.sleep(ctx.parameters["real_s"] * ctx.clock.scale)


def stillness(ctx: Context) -> None:
    ctx.device("arm").move("although it is to be still")


def scan(ctx: Context) -> Generator[Any, Any, None]:
    """A Bluesky plan: move and read, with a checkpoint before each point."""
    from bluesky import plan_stubs as bps
    from bluesky import preprocessors as bpp

    arm = ctx.device("arm")

    @bpp.run_decorator(md={"plan_name": "scan"})
    def inner() -> Generator[Any, Any, None]:
        for index in range(int(ctx.parameters["count"])):
            yield from bps.checkpoint()
            yield from bps.mv(arm, float(index))
            yield from bps.trigger_and_read([arm])
            yield from plan_sleep(ctx, ctx.parameters.get("real_s", 0.0) * ctx.clock.scale)

    def tidy() -> Generator[Any, Any, None]:
        yield from bps.mv(arm, 100.0)

    yield from bpp.finalize_wrapper(inner(), tidy)
    ctx.record(moved=int(arm.position))


def spectrum(ctx: Context) -> Generator[Any, Any, None]:
    """A plan whose events hold arrays."""
    from bluesky import plan_stubs as bps

    yield from bps.open_run()
    for _ in range(2):
        yield from bps.trigger_and_read([ctx.device("arm")])
    yield from bps.close_run()
    ctx.array("absorbance", [1.0, 2.0])


PARAMETERS = {
    "type": "object",
    "properties": {
        "count": {"type": "integer", "unit": "", "default": 1},
        "real_s": {"type": "number", "unit": "s", "default": 0.0},
        "bad": {"type": "boolean"},
        "how": {"type": "string"},
        "move": {"type": "boolean"},
    },
}

ACTIONS: Mapping[str, Callable[[Context], Any]] = {
    "noop": noop,
    "mark": mark,
    "moves": moves,
    "failing": failing,
    "measure": measure,
    "fill_disk": fill_disk,
    "sleeps": sleeps,
    "stillness": stillness,
    "scan": scan,
    "spectrum": spectrum,
}


def manifest(options: Mapping[str, Any]) -> Manifest:
    pauses = {"moves": "checkpoint", "scan": "checkpoint", "sleeps": "immediate"}
    return Manifest(
        package=__name__,
        version="1.0",
        title="Bench",
        devices={"arm": Device(), "second_arm": Device()},
        tasks=tuple(
            Task(
                name=name,
                title=name,
                parameters=PARAMETERS,
                steps=(Step(name="do", action=name, devices={"arm": "use"}, duration_s="1"),),
                results=(
                    Result(name="moved", dtype="integer"),
                    Result(name="peak_nm", unit="nm"),
                    Result(name="noise"),
                    Result(name="absorbance", dtype="array", shape=(None,)),
                ),
            )
            for name in ACTIONS
        ),
        actions=tuple(Action.model_validate({"name": name, "pause": pauses.get(name, "none")}) for name in ACTIONS),
    )
