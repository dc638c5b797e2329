"""The client library.

>>> from pathlib import Path
>>> from octolab.client import Octolab
>>> with Octolab("http://127.0.0.1:8000", token="…") as lab:
...     job = lab.submit(Path("silver-nanoparticles.yaml"))
...     lab.wait(job["id"])
...     results = lab.results(job["id"])

:class:`AsyncOctolab` offers the same verbs to ``await``. Errors of the server are raised as :class:`ApiError`
with the server's own sentences; what can be repeated without harm is repeated when the server is away.
"""

from __future__ import annotations

from .asynchronous import AsyncOctolab
from .calls import FINAL, Job
from .errors import (
    ApiError,
    ConflictError,
    CorruptDownloadError,
    ForbiddenError,
    InvalidError,
    NotAuthenticatedError,
    NotFoundError,
    OctolabError,
    UnreachableError,
)
from .results import Array, Results, Table
from .synchronous import Octolab

__all__ = [
    "FINAL",
    "ApiError",
    "Array",
    "AsyncOctolab",
    "ConflictError",
    "CorruptDownloadError",
    "ForbiddenError",
    "InvalidError",
    "Job",
    "NotAuthenticatedError",
    "NotFoundError",
    "Octolab",
    "OctolabError",
    "Results",
    "Table",
    "UnreachableError",
]
