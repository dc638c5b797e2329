"""Websockets: the right events to the right people, at once, and no longer than their right lasts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis
from asgiref.sync import sync_to_async
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from modules.contract.messages import EVENTS_BELL, LIVE_CHANNEL
from octolab.live.routing import websocket_application
from scheduler.models import Event, Job, Leader
from tests.cast import Person, World, make_world
from tests.live.communicator import WebsocketCommunicator
from users import services
from users.models import Scope
from users.policies.services import change_policy

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
HOST = b"testserver"
Say = Callable[..., Any]


@pytest.fixture
def world(transactional_db: None, settings: Any, redis_url: str) -> World:
    settings.REDIS_URL = redis_url
    settings.ALLOWED_HOSTS = ["testserver"]
    made = make_world()
    Leader.objects.update(last_event_seq=Event.objects.latest("seq").seq)
    return made


@pytest.fixture
def happen(world: World, redis_url: str) -> Say:
    """Let something happen: an event row, then the bell."""

    def say(job: Job | None, kind: str = "job", **fields: Any) -> int:
        leader = Leader.objects.get(pk=1)
        seq = max(leader.last_event_seq, Event.objects.order_by("-seq").values_list("seq", flat=True).first() or 0) + 1
        Leader.objects.update(last_event_seq=seq)
        project = job.project if job else None
        Event.objects.create(
            seq=seq, at=timezone.now(), lab_s=1.0, kind=kind, subject=str(job.pk if job else "arm"), job=job,
            project=project, actor="owner", reason="because", **fields,
        )  # fmt: skip
        with redis.Redis.from_url(redis_url) as client:
            client.publish(EVENTS_BELL, "")
        return seq

    return say


@asynccontextmanager
async def socket(
    person: Person, query: str = "", *, session: bool = False, origin: bytes | None = b"http://testserver"
) -> AsyncIterator[WebsocketCommunicator]:
    headers = [(b"host", HOST)]
    if session:
        client = Client()
        await sync_to_async(client.force_login)(person.user, backend="django.contrib.auth.backends.ModelBackend")
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
        if origin is not None:
            headers.append((b"origin", origin))
    elif person.secret:
        headers.append((b"authorization", f"Bearer {person.secret}".encode()))
    communicator = WebsocketCommunicator(websocket_application, f"/ws/events?{query}", headers)
    assert await communicator.connect()
    try:
        yield communicator
    finally:
        await communicator.disconnect()


async def greeting(communicator: WebsocketCommunicator) -> dict[str, Any]:
    message: dict[str, Any] = await communicator.receive_json_from(timeout=5)
    assert message["type"] == "hello"
    return message


async def closed_with(communicator: WebsocketCommunicator) -> int:
    while True:
        output = await communicator.receive_output(timeout=5)
        if output["type"] == "websocket.close":
            return int(output["code"])


async def test_members_hear_of_their_job_and_outsiders_of_nothing(world: World, happen: Say) -> None:
    async with socket(world.viewer) as inside, socket(world.outsider) as outside:
        await greeting(inside)
        await greeting(outside)
        seq = await sync_to_async(happen)(world.job, state_to="running")
        message = await inside.receive_json_from(timeout=5)
        assert (message["seq"], message["to"], message["job"]) == (seq, "running", str(world.job.pk))
        assert await outside.receive_nothing(timeout=1.5)


async def test_an_event_whose_bell_was_lost_comes_within_a_second_or_so(
    world: World, happen: Say, redis_url: str
) -> None:
    async with socket(world.owner) as inside:
        await greeting(inside)
        await asyncio.sleep(0.3)
        await sync_to_async(happen)(world.job)
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        assert (await inside.receive_json_from(timeout=5))["type"] == "event"


async def test_device_events_name_nobody_to_people_who_are_not_operators(world: World, happen: Say) -> None:
    async with socket(world.outsider) as outsider, socket(world.operator) as operator:
        await greeting(outsider)
        await greeting(operator)
        await sync_to_async(happen)(None, kind="device", state_to="error")
        seen = await outsider.receive_json_from(timeout=5)
        assert seen["to"] == "error"
        assert not {"actor", "reason", "data"} & seen.keys()
        assert (await operator.receive_json_from(timeout=5))["reason"] == "because"


async def test_what_was_missed_is_repeated(world: World, happen: Say) -> None:
    first = await sync_to_async(happen)(world.job)
    second = await sync_to_async(happen)(world.job)
    async with socket(world.owner, f"since={first}") as inside:
        assert (await greeting(inside))["seq"] == second
        assert (await inside.receive_json_from(timeout=5))["seq"] == second
    async with socket(world.outsider, "since=0") as outside:
        await greeting(outside)
        assert await outside.receive_nothing(timeout=0.5)


async def test_a_socket_of_one_job_hears_of_no_other(world: World, happen: Say) -> None:
    async with socket(world.owner, "job=01a00000-0000-7000-8000-000000000000") as inside:
        await greeting(inside)
        await sync_to_async(happen)(world.job)
        assert await inside.receive_nothing(timeout=1.5)


async def test_a_place_that_is_taken_tells_others_not_by_whose_sample(world: World, happen: Say) -> None:
    async with socket(world.outsider) as outsider, socket(world.operator) as operator:
        await greeting(outsider)
        await greeting(operator)
        await sync_to_async(happen)(None, kind="place", state_to="taken")
        assert (await outsider.receive_json_from(timeout=5))["subject"] == ""
        assert (await operator.receive_json_from(timeout=5))["subject"] == "arm"


async def test_an_operator_s_token_for_one_project_is_no_operator(world: World, happen: Say) -> None:
    user = world.operator.user
    assert user is not None
    token, secret = await sync_to_async(
        lambda: services.create_token(user, scopes=Scope.values, project=user.personal_project)
    )()
    async with socket(Person("operator", user, token, secret)) as narrow:
        await greeting(narrow)
        await sync_to_async(happen)(None, kind="device", state_to="error")
        assert "actor" not in await narrow.receive_json_from(timeout=5)


async def test_a_token_that_may_not_read_jobs_hears_nothing(world: World) -> None:
    assert world.owner.user is not None
    token, secret = await sync_to_async(services.create_token)(world.owner.user, scopes=["results:read"])
    for person in (world.scopeless, Person("owner", world.owner.user, token, secret)):
        async with socket(person) as deaf:
            assert await closed_with(deaf) == 4401


async def test_a_session_s_socket_ends_with_its_password_session_or_missing_factor(world: World) -> None:
    user = world.operator.user
    assert user is not None

    def new_password() -> None:
        user.set_password("another good secret")
        user.save()

    for end in (
        new_password,
        lambda: Session.objects.all().delete(),
        lambda: change_policy(mfa_for=["operator"]),
    ):
        async with socket(world.operator, session=True) as inside:
            await greeting(inside)
            await sync_to_async(end)()
            assert await closed_with(inside) == 4401
    async with socket(world.operator, session=True) as without_factor:
        assert await closed_with(without_factor) == 4401


@pytest.mark.parametrize("ending", ["token", "account", "membership"])
async def test_a_socket_ends_with_its_right(world: World, happen: Say, ending: str) -> None:
    assert world.owner.user is not None
    person = world.owner
    if ending == "membership":
        token, secret = await sync_to_async(services.create_token)(person.user, project=world.project)
        person = Person("owner", person.user, token, secret)
    async with socket(person) as inside:
        await greeting(inside)
        if ending == "token":
            await sync_to_async(services.revoke_token)(person.token)
        elif ending == "account":
            await sync_to_async(services.deactivate)(person.user)
        else:
            await sync_to_async(services.remove_member)(world.project, person.user)
        await sync_to_async(happen)(world.job)
        assert await closed_with(inside) == 4401


async def test_a_former_member_hears_nothing_more(world: World, happen: Say) -> None:
    async with socket(world.member) as inside:
        await greeting(inside)
        await sync_to_async(services.remove_member)(world.project, world.member.user)
        await sync_to_async(happen)(world.job)
        assert await inside.receive_nothing(timeout=1.5)


async def test_progress_reaches_members_only(world: World, redis_url: str) -> None:
    async with socket(world.member) as inside, socket(world.outsider) as outside:
        await greeting(inside)
        await greeting(outside)
        await asyncio.sleep(0.3)
        live = {"job_id": str(world.job.pk), "project_id": str(world.project.pk), "step_id": "s", "progress": 0.5}
        with redis.Redis.from_url(redis_url) as client:
            client.publish(LIVE_CHANNEL, "not json")
            client.publish(LIVE_CHANNEL, json.dumps(live))
        assert (await inside.receive_json_from(timeout=5))["progress"] == 0.5
        assert await outside.receive_nothing(timeout=0.5)


async def test_a_session_counts_only_from_a_page_of_this_server(world: World) -> None:
    async with socket(world.owner, session=True) as inside:
        await greeting(inside)
    for origin in (None, b"http://evil.example", b"http://testserver:81", b"null"):
        async with socket(world.owner, session=True, origin=origin) as foreign:
            assert await closed_with(foreign) == 4401, origin


async def test_without_a_credential_there_are_no_events(world: World) -> None:
    for person in (world.anonymous, Person("liar", secret="octolab_wrong"), world.deactivated):
        async with socket(person) as nobody:
            assert await closed_with(nobody) == 4401
