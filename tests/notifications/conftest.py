"""People, channels and a chat service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from notifications.models import Channel
from notifications.services import create_channel
from scheduler.models import Job
from tests.analysis.measured import make_job
from tests.notifications.chat import Chat
from users import services
from users.models import User


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat()
    yield chat
    chat.close()


@pytest.fixture
def private_allowed(settings: Any) -> None:
    settings.NOTIFY_PRIVATE = True


@pytest.fixture
def ann(db: None) -> User:
    return services.create_user("ann")


@pytest.fixture
def bob(db: None) -> User:
    return services.create_user("bob")


@pytest.fixture
def job(ann: User) -> Job:
    return make_job(ann, simulated=False, samples=0)


@pytest.fixture
def channel(ann: User, chat: Chat, private_allowed: None) -> Channel:
    return create_channel(ann, "lab chat", chat.url())


@pytest.fixture
def client_of() -> Callable[[User], APIClient]:
    def client_of(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {services.create_token(user)[1]}")
        return client

    return client_of
