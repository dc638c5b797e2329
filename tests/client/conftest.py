"""Fixtures for the client's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from octolab.client import Octolab

from .scripted import Script, scripted_server


@pytest.fixture
def script() -> Iterator[Script]:
    """A server that answers by a script."""
    with scripted_server() as script:
        yield script


@pytest.fixture
def lab(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[Octolab]:
    """A client of it that pauses only for a moment between tries."""
    monkeypatch.setattr("octolab.client.transport.FIRST_PAUSE_S", 0.001)
    with Octolab(script.url, "octolab_secret", tries=3) as lab:
        yield lab
