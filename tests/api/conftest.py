"""Fixtures of the API's tests."""

from __future__ import annotations

import pytest

from tests.cast import World, make_world


@pytest.fixture
def world(db: None) -> World:
    """One team, its job in the lab, and everybody around."""
    return make_world()
