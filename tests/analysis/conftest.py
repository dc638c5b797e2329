"""People, a store and a data root for tests of results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from analysis import results
from analysis.documents import DocumentStore
from users import services
from users.models import User


@pytest.fixture
def store(mongo_url: str, settings: Any) -> Iterator[DocumentStore]:
    settings.MONGO_URL = mongo_url
    store = results.store()
    yield store
    store.close()


@pytest.fixture(autouse=True)
def _keep_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the test's transaction when a test closes a response: a server's connection would end with the request."""
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)


@pytest.fixture
def ann(db: None) -> User:
    return services.create_user("ann")


@pytest.fixture
def bob(db: None) -> User:
    return services.create_user("bob")


@pytest.fixture
def client_of() -> Callable[..., APIClient]:
    """Return a function that gives a client with a token of a user."""

    def client_of(user: User, *scopes: str) -> APIClient:
        client = APIClient()
        _, secret = services.create_token(user, scopes=scopes or None)
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {secret}")
        return client

    return client_of


@pytest.fixture
def root(data_root: Path) -> Path:
    return data_root
