"""Secrets that the stack makes for itself: generated once, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def secret_file(folder: Path, name: str) -> Path:
    """Return the path of a secret of 256 random bits, written in hexadecimal, made at the first call."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    path = folder / name
    if not path.exists():
        unfinished = folder / f".{name}.{os.getpid()}"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
    path.chmod(0o600)
    return path
