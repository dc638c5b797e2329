"""The simulated linear actuator: GRBL 1.1 with X, Z and the nozzle of all four pumps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modules.drivers.layout import AXIS_CENTER_MM, AXIS_MM, AXIS_UP_MM
from modules.simulation.cutters import Cutter, LineCutter
from modules.simulation.instrument import Motion, SimulatedInstrument
from modules.simulation.world import PARKED

if TYPE_CHECKING:
    from modules.simulation.lab import SimulatedLab

BANNER = b"\r\nGrbl 1.1h ['$' for help]\r\n"
WORD = re.compile(r"([A-Z])(-?\d+(?:\.\d+)?)")
# measured: down to a slot 11.1 s, up 3.4 s, to the centre 10.0 s
TO_SLOT_S, Z_S, TO_CENTER_S, HOME_S = 7.7, 3.4, 10.0, 15.0
TRAVEL = {"X": (0.0, 300.0), "Y": (0.0, 0.0), "Z": (-60.0, 0.0)}
REACH_MM = 2.0
REALTIME = b"?!~\x18"


class SimulatedActuator(SimulatedInstrument):
    """Speaks GRBL; a collision is a hard-limit alarm and an incident."""

    def __init__(self, lab: SimulatedLab, section: Mapping[str, Any]) -> None:
        super().__init__(lab, section)
        self.memory.update(X=AXIS_CENTER_MM, Y=0.0, Z=AXIS_UP_MM, alarm=True, held=None)
        self.slots: dict[str, float] = dict(self.settings.get("places", AXIS_MM))
        self.center = float(self.settings.get("center_mm", AXIS_CENTER_MM))

    @classmethod
    def cutter(cls) -> Cutter:
        """Lines, and the real-time bytes."""
        return LineCutter(realtime=REALTIME)

    def execute(self, command: bytes) -> None:
        """Carry out a real-time byte, a ``$`` command or a line of G-code."""
        text = command.decode("latin-1").upper().replace(" ", "")
        if len(command) == 1 and command in REALTIME:
            self._realtime(command)
        elif text == "$H":
            self._home(command)
        elif text == "$X":
            self.memory["alarm"] = False
            self._reply(command, "$X", b"ok", moves=False)
        elif text == "$I":
            self._reply(command, "$I", b"[VER:1.1h.20190825:octolab]\r\n[OPT:V,15,128]\r\nok", moves=False)
        elif text.startswith("$"):
            self._reply(command, "$", b"error:3", moves=False)
        elif self.memory["alarm"]:
            self._reply(command, "G", b"error:9", moves=True)
        else:
            self._gcode(command, text)

    # ------------------------------------------------------------------ real time

    def _realtime(self, command: bytes) -> None:
        verb = {b"?": "STATUS", b"!": "HOLD", b"~": "RESUME", b"\x18": "RESET"}[command]
        self.log(command, verb, accepted=True, moves=verb == "RESUME")
        if verb == "STATUS":
            self.answer(self._report())
        elif verb == "HOLD" and self.motion is not None and self.motion.verb == "GO":
            motion = self.motion
            left = (1 - motion.fraction(self.now)) * (motion.ends - motion.started)
            self.halt()
            self.memory["held"] = {**motion.details, "seconds": left}
        elif verb == "RESUME" and self.memory["held"]:
            held, self.memory["held"] = self.memory["held"], None
            self._go(held["axis"], held["to"], held["seconds"])
        elif verb == "RESET":
            self._reset()

    def _reset(self) -> None:
        lost = self.halt()
        self.memory["held"] = None
        if lost:
            self.memory["alarm"] = True
            self.answer(b"ALARM:3\r\n")
        self.answer(BANNER)

    def _report(self) -> bytes:
        state = "Alarm" if self.memory["alarm"] else "Idle"
        if self.memory["held"]:
            state = "Hold:0"
        if self.motion is not None:
            state = "Home" if self.motion.verb == "HOME" else "Run"
        x, y, z = (self._coordinate(axis) for axis in "XYZ")
        return f"<{state}|MPos:{x:.3f},{y:.3f},{z:.3f}|FS:0,0>\r\n".encode()

    def _coordinate(self, axis: str) -> float:
        here = float(self.memory[axis])
        motion = self.motion
        if motion is None or motion.verb != "GO" or motion.details["axis"] != axis:
            return here
        return here + motion.fraction(self.now) * (motion.details["to"] - here)

    # ------------------------------------------------------------------ motions

    def _home(self, command: bytes) -> None:
        if self.motion is not None:
            self._reply(command, "$H", b"error:8", moves=True)
        elif other := self.claim("batch"):
            self._crash(command, "$H", f"homed into {other}")
        else:
            self.log(command, "$H", accepted=True, moves=True)
            self._leave("X")
            self.begin("HOME", HOME_S)

    def _gcode(self, command: bytes, text: str) -> None:
        words = WORD.findall(text)
        targets = [(letter, float(number)) for letter, number in words if letter in TRAVEL]
        motions = [number for letter, number in words if letter == "G" and float(number) in (0, 1)]
        if "".join(letter + number for letter, number in words) != text:
            self._reply(command, "G", b"error:2", moves=True)
        elif not targets and not motions:
            known = all(letter == "G" and float(number) in (21, 90, 94) for letter, number in words)
            self._reply(command, "G", b"ok" if known else b"error:20", moves=False)
        elif self.motion is not None or self.memory["held"] or len(targets) != 1:
            # the real one would queue; no driver of ours relies on that
            self._reply(command, "G", b"error:24", moves=True)
        else:
            self._start(command, *targets[0])

    def _start(self, command: bytes, axis: str, to: float) -> None:
        low, high = TRAVEL[axis]
        verb = f"G0 {axis}"
        if not low <= to <= high:
            self.memory["alarm"] = True
            self._reply(command, verb, b"ALARM:2", moves=True)
        elif other := self.claim("batch"):
            self._crash(command, verb, f"moved into {other}")
        elif axis == "X" and self._lowered() and abs(to - self.memory["X"]) > REACH_MM:
            self._crash(command, verb, "moved sideways with the nozzle lowered")
        else:
            self._reply(command, verb, b"ok", moves=True)
            seconds = Z_S if axis == "Z" else TO_CENTER_S if abs(to - self.center) < REACH_MM else TO_SLOT_S
            self._go(axis, to, 0.02 if abs(to - self.memory[axis]) < 0.01 else seconds)

    def _lowered(self) -> bool:
        return bool(self.memory["Z"] < AXIS_UP_MM - REACH_MM)

    def _go(self, axis: str, to: float, seconds: float) -> None:
        self._leave(axis)
        self.begin("GO", seconds, axis=axis, to=to)

    def _leave(self, axis: str) -> None:
        for settle in self.world.before_nozzle_moves:
            settle()
        if axis == "X":
            self.world.nozzle = ""
        elif self.world.nozzle == PARKED:
            self.world.nozzle = "" if self.memory["X"] != self.center else PARKED

    def finish(self, motion: Motion) -> None:
        """Stand where it was sent."""
        if motion.verb == "HOME":
            self.memory.update(X=self.center, Z=AXIS_UP_MM, alarm=False)
            self._arrive()
            self.answer(b"ok\r\n")
        else:
            self.memory[motion.details["axis"]] = motion.details["to"]
            self._arrive()

    def interrupt(self, motion: Motion) -> None:
        """Stand somewhere between."""
        if motion.verb == "GO":
            axis = motion.details["axis"]
            here = self.memory[axis]
            self.memory[axis] = here + motion.fraction(self.now) * (motion.details["to"] - here)
        self._arrive()

    def power_on(self) -> None:
        """Locked until homed."""
        self.memory.update(alarm=True, held=None)
        self.answer(BANNER)

    def put_aside(self) -> None:
        """The nozzle is up and in the centre."""
        self.memory.update(X=self.center, Z=AXIS_UP_MM, held=None)
        self._arrive()

    def _arrive(self) -> None:
        for settle in self.world.before_nozzle_moves:
            settle()
        x, z = self.memory["X"], self.memory["Z"]
        if abs(x - self.center) < REACH_MM and abs(z - AXIS_UP_MM) < REACH_MM:
            self.world.nozzle = PARKED
        else:
            near = [place for place, where in self.slots.items() if abs(where - x) < REACH_MM]
            self.world.nozzle = near[0] if near else ""

    def _crash(self, command: bytes, verb: str, text: str) -> None:
        self.memory["alarm"] = True
        self.incident("collision", text)
        self._reply(command, verb, b"ALARM:1", moves=True)

    def _reply(self, command: bytes, verb: str, answer: bytes, *, moves: bool) -> None:
        self.log(command, verb, accepted=answer.endswith(b"ok"), moves=moves)
        self.answer(answer + b"\r\n")
