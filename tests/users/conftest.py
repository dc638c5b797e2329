"""Fixtures of the tests of accounts."""

from __future__ import annotations

import pytest

from tests.cast import Person, person


@pytest.fixture
def ann(db: None) -> Person:
    """A user with a token that may everything."""
    return person("ann")
