"""The cast with a running lab clock, each at Django's test client; and a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from django.test import Client
from playwright import sync_api

from analysis import results
from modules.contract import clock
from octolab import labtime
from tests.cast import World, make_world

Browser = Callable[[str], Client]


@pytest.fixture(scope="module")
def chromium() -> Iterator[sync_api.Browser]:
    """Debian's Chromium; a test that uses it is skipped where there is none."""
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield running
        running.close()


@pytest.fixture
def world(db: None, settings: object, mongo_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """One team, its job, everybody around, and the lab's clock."""
    settings.MONGO_URL = mongo_url  # type: ignore[attr-defined]
    store = results.store()
    lab_clock = clock.resume(store.database, 600.0, simulated=True)
    monkeypatch.setattr(labtime, "_clock", lab_clock)
    yield make_world()
    store.close()


@pytest.fixture
def signed_in(world: World) -> Browser:
    """Sign somebody of the cast in at the dashboard; nobody for ``anonymous``."""

    def open_as(name: str) -> Client:
        client = Client()
        user = world.people[name].user
        if user is not None:
            client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return client

    return open_as
