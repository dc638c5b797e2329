"""Channels over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from notifications import services
from notifications.delivery import deliver_channel
from notifications.models import Channel, Notification
from notifications.services import create_channel
from notifications.transport import send
from tests.notifications.chat import Chat
from users.models import User

ClientOf = Callable[[User], APIClient]
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#lab"


def test_a_channel_is_made_listed_and_deleted_without_its_url(ann: User, client_of: ClientOf) -> None:
    client = client_of(ann)
    made = client.post("/api/v1/channels", {"name": "lab", "url": SLACK, "events": ["failed"]})
    assert made.status_code == 201
    listed = client.get("/api/v1/channels")
    assert listed.json() == [made.json()]
    assert made.json() == {
        "id": made.json()["id"],
        "name": "lab",
        "service": "Slack",
        "events": ["failed"],
        "enabled": True,
        "last": None,
    }
    for response in (made, listed, client.get(f"/api/v1/channels/{made.json()['id']}")):
        assert b"TIiajkdnlazkcOXrIdevi7FQ" not in response.content
    assert Channel.objects.get().url == SLACK
    assert client.delete(f"/api/v1/channels/{made.json()['id']}").status_code == 204
    assert client.get("/api/v1/channels").json() == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "dbus://",
        "syslog://",
        "http://example.org/hook",
        "apprise://example.org/token",
        "exec://rm",
        "slack://",
        SLACK + "?template=/etc/passwd",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ?template=http://169.254.169.254/",
        "jsons://example.org/?verify=no",
        "jsons://example.org/?redirect=yes",
        "json://localhost/",
        "json://LOCALHOST./",
        "json://127.0.0.1/",
        "json://10.1.2.3:8080/",
        "json://169.254.169.254/latest/meta-data",
        "json://[::1]/",
        "json://[::ffff:127.0.0.1]/",
        "json://0.0.0.0/",
        "mmost://192.168.1.1/token",
        "json://example.org/ json://other.org/",
        "json://example.org/\nBcc: x",
        "json://example.org/,json://127.0.0.1/",
        "x" * 3000,
        "",
    ],
)
def test_urls_that_reach_into_the_server_or_the_lab_are_refused(ann: User, client_of: ClientOf, url: str) -> None:
    response = client_of(ann).post("/api/v1/channels", {"url": url})
    assert response.status_code == 422, response.json()
    assert response.json()["errors"][0]["path"] == "/url"
    assert not Channel.objects.exists()


@pytest.mark.parametrize(
    "url",
    [
        SLACK,
        "tgram://123456789:abcdefg_hijklmnop/12315544/",
        "mailtos://user:pass@example.org?to=ann@example.org",
        "jsons://hooks.example.org/octolab?+Authorization=Bearer%20x",
        "ntfy://my-topic",
        "mmosts://chat.example.org/abcdefgh/lab",
    ],
)
def test_common_services_are_taken(ann: User, client_of: ClientOf, url: str) -> None:
    assert client_of(ann).post("/api/v1/channels", {"url": url}).status_code == 201


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"url": SLACK, "events": ["exploded"]}, "/events"),
        ({"url": SLACK, "user": "bob"}, "/user"),
        ({"name": "x" * 101, "url": SLACK}, "/name"),
        ({"name": "lab"}, "/url"),
    ],
)
def test_bad_channels_are_refused(ann: User, client_of: ClientOf, body: dict[str, Any], path: str) -> None:
    response = client_of(ann).post("/api/v1/channels", body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"].startswith(path)


def test_other_peoples_channels_do_not_exist(ann: User, bob: User, client_of: ClientOf) -> None:
    channel = create_channel(ann, "lab", SLACK)
    other = client_of(bob)
    assert other.get("/api/v1/channels").json() == []
    for call, path in ((other.get, ""), (other.delete, ""), (other.post, "/test")):
        answers = [call(f"/api/v1/channels/{pk}{path}") for pk in (channel.pk, uuid4())]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json()["detail"] == answers[1].json()["detail"]
    assert APIClient().get("/api/v1/channels").status_code == 401
    assert Channel.objects.count() == 1


def test_the_number_of_channels_has_a_limit(ann: User, client_of: ClientOf) -> None:
    Channel.objects.bulk_create(Channel(user=ann, name="c", url=SLACK) for _ in range(services.MAX_CHANNELS))
    response = client_of(ann).post("/api/v1/channels", {"url": SLACK})
    assert response.status_code == 422
    assert "Delete one" in response.json()["errors"][0]["message"]


def test_a_test_message_is_sent_and_its_fate_is_shown(
    ann: User, channel: Channel, chat: Chat, client_of: ClientOf
) -> None:
    client = client_of(ann)
    url = f"/api/v1/channels/{channel.pk}"
    queued = client.post(f"{url}/test")
    assert (queued.status_code, queued.json()["state"]) == (202, "waiting")
    chat.answers = [404]
    deliver_channel(channel.pk, send)
    last = client.get(url).json()["last"]
    assert (last["event"], last["state"], last["error"]) == ("test", "gave_up", "the service answered 404")
    client.post(f"{url}/test")
    deliver_channel(channel.pk, send)
    assert client.get(url).json()["last"]["state"] == "delivered"
    assert [m["title"] for m in chat.messages] == ["octolab can reach you here"]
    assert Notification.objects.count() == 2
