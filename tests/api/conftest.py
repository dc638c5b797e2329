"""Fixtures of the API's tests."""

from __future__ import annotations

from typing import Any

import pytest

from octolab import labtime
from tests.cast import World, make_world
from tests.jobs.conftest import open_lab  # noqa: F401


@pytest.fixture
def world(db: None, settings: Any, mongo_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """One team, its job in the lab, and everybody around; the stores are real ones and empty."""
    settings.MONGO_URL, settings.REDIS_URL = mongo_url, redis_url
    monkeypatch.setattr(labtime, "_clock", None)
    return make_world()
