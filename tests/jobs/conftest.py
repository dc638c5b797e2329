"""Fixtures: a lab in the database, and people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
from pymongo import MongoClient

from modules.contract.clock import resume
from octolab import labtime
from scheduler import catalogue
from tests.jobs import lab
from users.models import User
from users.services import create_user

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("octolab", deadline=None)
hypothesis.settings.load_profile("octolab")


@pytest.fixture
def open_lab(
    db: None, settings: Any, mongo_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], None]:
    """Open a shipped lab: its file, its rows, its clock and its Redis."""

    def open_(name: str) -> None:
        settings.LAB_FILE = lab.LABS / f"{name}.toml"
        settings.MONGO_URL, settings.REDIS_URL = mongo_url, redis_url
        client: MongoClient[Any] = MongoClient(mongo_url, retryWrites=False)
        with client:
            resume(client.get_default_database(), 600.0, simulated=True)
        monkeypatch.setattr(labtime, "_clock", None)
        monkeypatch.setattr(labtime, "_tried_s", float("-inf"))
        catalogue.forget()
        lab.store(name)

    return open_


@pytest.fixture
def silver(open_lab: Callable[[str], None]) -> None:
    """The demo lab."""
    open_lab("silver")


@pytest.fixture
def ada(db: None) -> User:
    """A user with a personal project."""
    return create_user("ada")


@pytest.fixture
def grace(db: None) -> User:
    """Another user."""
    return create_user("grace")
