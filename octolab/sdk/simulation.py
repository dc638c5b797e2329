"""What people import who write a simulated instrument: it speaks the real one's bytes, behind a port of its own.

A simulator derives from :class:`SimulatedInstrument` and gives ``execute`` (and ``finish`` and ``interrupt`` where
something takes time), or from :class:`LineInstrument` if its driver is a ``LineDevice``.
"""

from __future__ import annotations

from modules.simulation import LineInstrument, Motion, Refusal, SimulatedInstrument

__all__ = ["LineInstrument", "Motion", "Refusal", "SimulatedInstrument"]
