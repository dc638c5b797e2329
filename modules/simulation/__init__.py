"""Simulated instruments: one process holds the physical world and speaks the instruments' own bytes over
ptys."""

from __future__ import annotations

from modules.contract.hands import order
from modules.simulation.clock import Clock, ScaledClock
from modules.simulation.instrument import LineInstrument, Motion, Refusal, SimulatedInstrument
from modules.simulation.lab import SimulatedLab
from modules.simulation.world import World

__all__ = [
    "Clock",
    "LineInstrument",
    "Motion",
    "Refusal",
    "ScaledClock",
    "SimulatedInstrument",
    "SimulatedLab",
    "World",
    "order",
]
