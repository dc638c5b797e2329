"""What the supervisor must know about one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .readiness import Probe


@dataclass(frozen=True)
class Service:
    """One long-running process of the stack."""

    name: str
    command: tuple[str, ...]
    ready: Probe
    """Tells when it does its work."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """The whole environment of the process; nothing is inherited."""
    directory: Path | None = None
    standard_input: bytes = b""
    """Written to the process once, then closed: the way for secrets that must not stand on a command line."""
    before_start: Callable[[], None] | None = None
    """Called before every start, to remove what an earlier, killed one left behind."""
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0
    """How long it may take to end by itself after SIGTERM, before it is killed."""
    stop_note: str = ""
    """Shown while waiting for it to end."""


class StackError(Exception):
    """The stack cannot do what it was asked to do; the text tells a person what to do next."""
