"""The server and token that ``octolab login`` keeps, in a file that only its owner can read."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Credentials:
    """What is needed to speak to a server."""

    url: str
    token: str | None


def path() -> Path:
    """Return where they are kept: ``$XDG_CONFIG_HOME/octolab/credentials.json``."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "octolab" / "credentials.json"


def load() -> Credentials:
    """Return the kept ones; ``OCTOLAB_URL`` and ``OCTOLAB_TOKEN`` come before them.

    A token is only ever sent to the server that it was made at: another ``OCTOLAB_URL`` does without it.
    """
    kept = _kept()
    url = os.environ.get("OCTOLAB_URL") or (kept.url if kept else "http://127.0.0.1:8000")
    token = os.environ.get("OCTOLAB_TOKEN") or (kept.token if kept and kept.url == url else None)
    return Credentials(url.rstrip("/"), token)


def _kept() -> Credentials | None:
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        return Credentials(str(found["url"]), str(found["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(credentials: Credentials) -> Path:
    """Write them, and return the file."""
    file = path()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        json.dump(asdict(credentials), output)
    unfinished.replace(file)
    return file


def forget() -> bool:
    """Delete the file; return whether there was one."""
    existed = path().exists()
    path().unlink(missing_ok=True)
    return existed
