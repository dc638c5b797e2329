"""Sending requests, and sending them again when that is harmless."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx

from .calls import Call
from .downloads import Download
from .errors import OctolabError, UnreachableError, error_of

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
_LATER = frozenset({429, 502, 503, 504})


class Transport:
    """The connections to one server.

    Parameters
    ----------
    tries
        How often a request that may be repeated is sent before giving up.
    """

    def __init__(self, url: str, token: str | None, timeout_s: float, tries: int) -> None:
        self.url = url
        self._tries = tries
        self._http = httpx.Client(base_url=url, headers={"Accept": "application/json"}, timeout=timeout_s)
        if token:
            self.use_token(token)

    def use_token(self, token: str) -> None:
        """Send this credential from now on."""
        self._http.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def json(self, call: Call) -> Any:
        """Send, and return the parsed answer."""
        return self.send(call).json()

    def any(self, call: Call) -> Any:
        """Send, and return what the answer holds: parsed JSON, other text, or None if it is empty."""
        response = self.send(call)
        if "json" in response.headers.get("content-type", ""):
            return response.json()
        return response.text or None

    def send(self, call: Call) -> httpx.Response:
        """Send, and return an answer of status below 400.

        Raises
        ------
        ApiError
            If the server refuses.
        UnreachableError
            If it does not answer.
        """
        pauses = self._pauses()
        while True:
            problem: httpx.Response | httpx.TransportError
            error: OctolabError
            try:
                problem = response = self._http.request(
                    call.method,
                    _on_server(call.path),
                    params=call.parameters or None,
                    content=call.content,
                    headers=call.all_headers,
                )
                if response.status_code < 400:
                    return response
                error = error_of(response)
            except httpx.TransportError as failure:
                problem = failure
                error = UnreachableError(
                    f"{self.url} does not answer ({failure or type(failure).__name__}). Does the server run there? "
                    "`deploy/up` prints its address; `octolab login URL` keeps another."
                )
            pause_s = next(pauses, None)
            if pause_s is None or not _may_repeat(call, problem):
                raise error
            time.sleep(max(pause_s, _asked_pause_s(problem)))

    def download(self, download: Download) -> None:
        """Fetch a file, going on where an earlier try broke off.

        Raises
        ------
        CorruptDownloadError
            If the file does not have the checksum that the server told.
        UnreachableError
            If it breaks off again and again.
        """
        pauses = self._pauses()
        while not download.complete:
            try:
                with self._http.stream("GET", _on_server(download.url), headers=download.headers) as response:
                    if response.status_code >= 400:
                        response.read()
                        raise error_of(response)
                    download.receive(response)
            except httpx.TransportError as error:
                if (pause_s := next(pauses, None)) is None:
                    raise UnreachableError(f"{download.url} broke off: {error or type(error).__name__}") from error
                time.sleep(pause_s)

    def _pauses(self) -> Iterator[float]:
        pause_s = FIRST_PAUSE_S
        for _ in range(self._tries - 1):
            yield pause_s
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)


def _may_repeat(call: Call, problem: httpx.Response | httpx.TransportError) -> bool:
    """Tell whether the request may be sent again: it is harmless, or has not reached the server's application."""
    if isinstance(problem, httpx.Response):
        return problem.status_code in _LATER and (call.repeatable or problem.status_code == 429)
    return call.repeatable or isinstance(problem, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)


def _asked_pause_s(problem: httpx.Response | httpx.TransportError) -> float:
    """Return how long the server asks to wait, at most a minute."""
    value = problem.headers.get("Retry-After", "") if isinstance(problem, httpx.Response) else ""
    return min(float(value), 60.0) if value.isdecimal() else 0.0


def _on_server(address: str) -> str:
    """Return an address without host: the token goes to nobody but the server, whatever an answer names."""
    parts = urlsplit(address)
    return urlunsplit(("", "", parts.path, parts.query, ""))
