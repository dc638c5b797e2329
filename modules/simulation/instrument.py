"""What all simulated instruments have in common: hearing, answering, moving, failing."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from modules.simulation.cutters import Cutter, LineCutter
from modules.simulation.faults import Faults
from modules.simulation.log import readable

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab


@dataclass
class Motion:
    """Something that takes lab time. Plain data, so that it survives a restart of the simulation.

    Attributes
    ----------
    verb : str
        What is being done.
    started, ends : float
        Lab seconds; infinite if it stalled.
    details : dict
        What the instrument needs at the end.
    """

    verb: str
    started: float
    ends: float
    details: dict[str, Any] = field(default_factory=dict)

    def fraction(self, now: float) -> float:
        """Return how much of it is done, 0 … 1."""
        if self.ends <= self.started or not math.isfinite(self.ends):
            return 0.0 if math.isinf(self.ends) else 1.0
        return min(1.0, max(0.0, (now - self.started) / (self.ends - self.started)))


class SimulatedInstrument:
    """An instrument behind a pty.

    Subclasses give `execute`, and where they move `finish` and perhaps `interrupt`; what they keep goes into
    `memory`, a dict of plain values, which survives a restart of the simulation.

    Parameters
    ----------
    lab : SimulatedLab
        Gives the world, the clock and the log.
    section : mapping
        The instrument's section of the lab file; its sub-table ``simulation`` is merged over it.
    """

    saved: ClassVar[bool] = True
    """False for instruments whose state is not worth a snapshot."""

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        self.lab = lab
        self.world = lab.world
        self.id = str(section["id"])
        self.settings: dict[str, Any] = {**section, **section.get("simulation", {})}
        self.faults = Faults()
        self.motion: Motion | None = None
        self.memory: dict[str, Any] = {}
        self.random = random.Random(f"{lab.seed}/{self.id}")
        self.send: Callable[[bytes], None] = lambda data: None

    # ------------------------------------------------------------------ to be written by each instrument

    @classmethod
    def cutter(cls) -> Cutter:
        """Return what cuts this kind's commands from the line."""
        return LineCutter()

    @classmethod
    def key_of(cls, command: bytes) -> str | None:
        """Return which instrument on a bus a command is for; None where there is only one."""
        return None

    @property
    def bus_key(self) -> str | None:
        """Return the key under which this instrument listens on its bus."""
        return None

    def execute(self, command: bytes) -> None:
        """Understand a command, log it with `log`, carry it out and answer."""
        raise NotImplementedError

    def finish(self, motion: Motion) -> None:
        """Change the world: a motion has ended."""

    def interrupt(self, motion: Motion) -> None:
        """Change the world: a motion was broken off."""

    def power_on(self) -> None:
        """Forget what is lost without power, and say what is said at the start."""

    def put_aside(self) -> None:
        """Change the world: a person has put it where it is in nobody's way, and taken what it held."""

    # ------------------------------------------------------------------ hearing and answering

    def receive(self, command: bytes) -> None:
        """Take a command from the line, unless a fault forbids it."""
        if self.faults.take("silence"):
            self.log(command, "", accepted=False, moves=False, fault="silence")
            return
        self.execute(command)

    def log(self, command: bytes, verb: str, *, accepted: bool, moves: bool, **more: Any) -> None:
        """Write a line to the command log."""
        text = readable(command)
        self.lab.log.write("command", self.id, text=text, verb=verb, accepted=accepted, moves=moves, **more)

    def incident(self, code: str, text: str) -> None:
        """Write down that something happened that must never happen in a lab."""
        self.lab.log.write("incident", self.id, code=code, text=text)
        self.world.incidents += 1

    def answer(self, data: bytes) -> None:
        """Send an answer, unless a fault forbids it."""
        if self.faults.take("drop"):
            return
        if self.faults.take("garbage"):
            data = bytes(self.random.choice(b"\x00\x7f\xff~Z%") for _ in data[:40]) + b"\n"
        if self.faults.take("slow"):
            self.lab.loop.later(self.faults.seconds, partial(self.send, data))
        else:
            self.send(data)

    # ------------------------------------------------------------------ moving

    def claim(self, *zones: str) -> str | None:
        """Take zones for the motion that begins now; return who moves there already, if anybody does."""
        if (other := self.world.conflict(self.id, set(zones))) is None:
            self.world.claims[self.id] = set(zones)
        return other

    @property
    def now(self) -> float:
        """Lab seconds."""
        return self.lab.clock.now()

    @property
    def moving(self) -> bool:
        """True while a motion is under way."""
        return self.motion is not None

    def begin(self, verb: str, seconds: float, **details: Any) -> None:
        """Start a motion that takes lab seconds."""
        now = self.now
        ends = math.inf if self.faults.take("stall") else now + seconds
        self.motion = Motion(verb, now, ends, details)
        self._arm_timer()
        self._changed()

    def halt(self) -> bool:
        """Break off what is under way; return whether there was anything."""
        motion, self.motion = self.motion, None
        if motion is None:
            return False
        self.world.claims.pop(self.id, None)
        self.interrupt(motion)
        self._changed()
        return True

    def tidy(self) -> None:
        """Let a person put it aside; what has stalled is switched off before.

        Raises
        ------
        ValueError
            If it moves: nobody reaches into that.
        """
        if self.motion is not None and math.isfinite(self.motion.ends):
            raise ValueError(f"{self.id} moves")
        self.halt()
        self.put_aside()
        self._changed()

    def _arm_timer(self) -> None:
        motion = self.motion
        if motion is not None and math.isfinite(motion.ends):
            self.lab.loop.at(motion.ends, partial(self._end, motion))

    def _end(self, motion: Motion) -> None:
        # it may have been stopped, stalled or replaced since
        if self.motion is motion and motion.ends <= self.now:
            self.motion = None
            self.world.claims.pop(self.id, None)
            self.finish(motion)
            self._changed()

    def _changed(self) -> None:
        if self.saved:
            self.lab.dirty = True

    # ------------------------------------------------------------------ faults and snapshots

    def stall(self) -> None:
        """Let the motion under way never end; without one, the next."""
        if self.motion is not None:
            self.motion.ends = math.inf
        else:
            self.faults.set("stall", 1)

    def reboot(self) -> None:
        """Start anew, as after a power cut."""
        self.lab.log.write("reboot", self.id)
        self.halt()
        self.power_on()
        self._changed()

    def snapshot(self) -> dict[str, Any]:
        """Return all that must survive a restart of the simulation."""
        return {"memory": self.memory, "motion": asdict(self.motion) if self.motion else None}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on where a snapshot stopped; a motion under way goes on too."""
        self.memory.update(saved["memory"])
        if saved["motion"]:
            self.motion = Motion(**saved["motion"])
            self._arm_timer()


class LineInstrument(SimulatedInstrument):
    """An instrument with the plain line protocol of `modules.drivers.line`.

    Subclasses give `model` and `verbs`: verb → (method, moves). The method gets the arguments and returns the
    fields of the answer, or raises `Refusal`.
    """

    model = ""

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.memory.update(last=0, outcome="none", code="", text="")
        self.verbs: dict[str, tuple[Callable[..., dict[str, Any]], bool]] = {
            "ID": (self._id, False),
            "STATUS": (self.status, False),
        }
        self._number = 0

    @classmethod
    def cutter(cls) -> Cutter:
        """Lines, and the stop byte."""
        return LineCutter(realtime=b"!")

    def _id(self) -> dict[str, Any]:
        return {"model": self.model, "serial": self.id}

    def status(self) -> dict[str, Any]:
        """Return the fields of ``STATUS``."""
        state = "moving" if self.moving else "idle"
        outcome = {key: self.memory[key] for key in ("last", "outcome", "code", "text") if self.memory[key] != ""}
        return {"state": state, **outcome}

    def execute(self, command: bytes) -> None:
        """Carry out a line or the stop byte."""
        if command == b"!":
            self.log(command, "STOP", accepted=True, moves=False)
            self.halt()
            self.answer(b"!\n")
            return
        number, verb, arguments = self._words(command)
        if verb not in self.verbs:
            self.log(command, verb, accepted=False, moves=False)
            self.answer(f"{number} ERR unknown {verb} is no command of this instrument\n".encode())
            return
        method, moves = self.verbs[verb]
        self._number = int(number) if number.isdigit() else 0
        try:
            if moves and self.moving:
                raise Refusal("busy", "a motion is still under way")
            fields = method(*arguments)
        except (Refusal, TypeError, ValueError) as error:
            refusal = error if isinstance(error, Refusal) else Refusal("bad_arguments", str(error))
            self.log(command, verb, accepted=False, moves=moves, code=refusal.code)
            if refusal.incident:
                self.incident(refusal.code, refusal.text)
            self.answer(f"{number} ERR {refusal.code} {refusal.text}\n".encode())
            return
        self.log(command, verb, accepted=True, moves=moves)
        words = "".join(f" {key}={_quoted(value)}" for key, value in fields.items())
        self.answer(f"{number} OK{words}\n".encode())

    def begin(self, verb: str, seconds: float, **details: Any) -> None:
        """Start a motion, and remember which command it belongs to."""
        self.memory.update(last=self._number, outcome="moving", code="", text="")
        super().begin(verb, seconds, **details)

    def finish(self, motion: Motion) -> None:
        """Note that it is done; subclasses change the world first."""
        self.memory["outcome"] = "done"

    def interrupt(self, motion: Motion) -> None:
        """Note that it was stopped."""
        self.memory["outcome"] = "stopped"

    def power_on(self) -> None:
        """Forget the last command."""
        self.memory.update(last=0, outcome="none", code="", text="")

    def _words(self, command: bytes) -> tuple[str, str, list[str]]:
        words = command.decode("utf-8", "replace").split()
        number = words[0] if words else "0"
        return number, (words[1].upper() if len(words) > 1 else ""), words[2:]


class Refusal(Exception):  # noqa: N818 - not an error of the program
    """The instrument will not do it.

    Parameters
    ----------
    code, text : str
        What it answers.
    incident : bool, optional
        Whether it would have been dangerous in a lab.
    """

    def __init__(self, code: str, text: str, *, incident: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.incident = incident


def _quoted(value: Any) -> str:
    text = str(value)
    return f'"{text}"' if " " in text or not text else text
