"""Requests as data, and what a job's specification may be given as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

Job: TypeAlias = dict[str, Any]
"""A job as ``GET /api/v1/jobs/{id}`` shows it."""
JobSource: TypeAlias = "Mapping[str, Any] | str | Path"
"""A job's specification: a mapping, text (YAML or JSON), or the :class:`~pathlib.Path` of a file with the text."""

FINAL = frozenset({"completed", "failed", "cancelled"})
"""States in which a job stays."""

PREFIX = "/api/v1"


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    """Sent as JSON."""
    text: str | None = None
    """Sent as YAML instead of a body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    """Whether sending it twice is the same as sending it once."""

    @property
    def content(self) -> bytes | None:
        """The body's bytes."""
        if self.text is not None:
            return self.text.encode()
        return None if self.body is None else json.dumps(self.body, ensure_ascii=False).encode()

    @property
    def all_headers(self) -> dict[str, str]:
        """Headers with the content's type."""
        if self.text is not None:
            return {"Content-Type": "application/yaml", **self.headers}
        return {**({} if self.body is None else {"Content-Type": "application/json"}), **self.headers}

    @property
    def parameters(self) -> dict[str, str]:
        """The query without what was not given."""
        return {name: str(value) for name, value in self.query.items() if value is not None}


def get(path: str, **query: Any) -> Call:
    """Return a call that reads."""
    return Call("GET", f"{PREFIX}{path}", query, repeatable=True)


def post(path: str, body: Any = None, *, repeatable: bool = False) -> Call:
    """Return a call that does something."""
    return Call("POST", f"{PREFIX}{path}", body={} if body is None else body, repeatable=repeatable)


def segment(value: object) -> str:
    """Return an id or a name, fit to stand between two slashes of a path."""
    return quote(str(value), safe="")


def specification(source: JobSource) -> dict[str, Any]:
    """Return how a job's specification is sent: ``{"body": …}`` or ``{"text": …}``.

    Text goes as it is written, so that the server's messages fit the author's lines.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if isinstance(source, Mapping):
        return {"body": dict(source)}
    return {"text": source if isinstance(source, str) else source.read_text(encoding="utf-8")}
