"""The simulated doser: hears and says what the real one does, so that the same driver runs against both."""

from __future__ import annotations

from octolab.sdk.simulation import Motion, SimulatedInstrument

SECONDS_PER_MG = 0.5


class SimulatedDoser(SimulatedInstrument):
    """What it keeps is in ``memory`` (plain values): it survives a restart of the simulation."""

    def execute(self, command: bytes) -> None:
        """Understand one line, log it, and answer."""
        verb, _, argument = command.decode("ascii", "replace").partition(" ")
        known = {
            "DOSE": self._dose,
            "EMPTY": self._empty,
            "MASS?": self._mass,
            "STATE?": self._state,
            "STOP": self._stop,
        }
        answer = known[verb](argument) if verb in known else f"ERR there is no command {verb}"
        self.log(command, verb, accepted=not answer.startswith("ERR"), moves=verb in ("DOSE", "EMPTY"))
        self.answer(f"{answer}\r\n".encode())

    def finish(self, motion: Motion) -> None:
        """A dose has ended: add what a real doser would, a little more or less than asked."""
        wanted_mg = motion.details["mass_mg"]
        self.memory["mass_mg"] = motion.details["before_mg"] + self.random.gauss(wanted_mg, 0.005 * wanted_mg)

    def interrupt(self, motion: Motion) -> None:
        """A dose was broken off: what has fallen has fallen."""
        self.memory["mass_mg"] = self._fallen_mg(motion)

    def _dose(self, argument: str) -> str:
        if self.moving:
            return "ERR a dose is still under way"
        try:
            mass_mg = float(argument)
        except ValueError:
            return f"ERR {argument} is no mass"
        self.begin("DOSE", mass_mg * SECONDS_PER_MG, mass_mg=mass_mg, before_mg=self.memory.get("mass_mg", 0.0))
        return "OK"

    def _empty(self, argument: str) -> str:
        if self.moving:
            return "ERR a dose is still under way"
        self.memory["mass_mg"] = 0.0
        return "OK"

    def _mass(self, argument: str) -> str:
        mass_mg = self._fallen_mg(self.motion) if self.motion else self.memory.get("mass_mg", 0.0)
        return f"MASS {mass_mg:.3f}"

    def _state(self, argument: str) -> str:
        return "STATE dosing" if self.moving else "STATE idle"

    def _stop(self, argument: str) -> str:
        self.halt()
        return "STOPPED"

    def _fallen_mg(self, motion: Motion) -> float:
        return float(motion.details["before_mg"] + motion.fraction(self.now) * motion.details["mass_mg"])
