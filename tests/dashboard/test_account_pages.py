"""One's own page: tokens and channels."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from notifications.models import Notification
from tests.cast import World
from users.models import Token

from .conftest import Browser


@pytest.mark.parametrize("wrong", [{"scopes": ["root"]}, {"scopes": []}, {"project": "theirs"}, {"project": "../x"}])
def test_a_token_that_cannot_be_is_not_made(world: World, signed_in: Browser, wrong: dict[str, Any]) -> None:
    before = Token.objects.count()
    client = signed_in("owner")
    client.post("/account/tokens", {"name": "x", "scopes": ["jobs:read"], **wrong})
    assert Token.objects.count() == before
    assert 'class="note bad' in client.get("/account").content.decode()


def test_a_new_token_is_shown_once_and_can_be_revoked(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    wish = {"name": "notebook", "days": "30", "scopes": ["jobs:read", "devices:read"], "project": "team", "agent": "on"}
    shown = client.post("/account/tokens", wish).content.decode()
    secret = re.search(r"<code[^>]*>(octolab_[^<]+)</code>", shown)
    assert secret is not None
    assert secret[1] not in client.get("/account").content.decode()
    assert client.get("/api/v1/me", headers={"Authorization": f"Bearer {secret[1]}"}).status_code == 200
    token = Token.objects.get(user=world.owner.user, name="notebook")
    assert (token.scopes, token.project, token.agent) == (["jobs:read", "devices:read"], world.project, True)
    assert signed_in("outsider").post(reverse("account-revoke", args=[token.pk])).status_code == 404
    assert client.post(reverse("account-revoke", args=[token.pk])).status_code == 302
    assert not Token.objects.filter(pk=token.pk).exists()


def test_channels_say_how_the_last_message_fared_and_can_be_tested_by_their_owner(
    world: World, signed_in: Browser
) -> None:
    client = signed_in("owner")
    assert "none yet" in client.get("/account").content.decode()
    address = reverse("account-channel-test", args=[world.channel.pk])
    assert signed_in("outsider").post(address).status_code == 404
    assert client.post(address).status_code == 302
    (message,) = Notification.objects.filter(channel=world.channel)
    assert message.event == "test"
    assert "On its way" in client.get("/account").content.decode()
    Notification.objects.update(gave_up_at=timezone.now(), error="nobody lives there")
    assert "nobody lives there" in client.get("/account").content.decode()
    wish = {
        "name": "mine",
        "url": "slack://aaaaaaaaa/bbbbbbbbb/cccccccccccccccccccccccc",
        "events": ["failed", "asks_person"],
    }
    client.post("/account/channels", wish)
    assert "failed, asks person" in client.get("/account").content.decode()


def test_signing_out_leads_to_the_sign_in_page(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/login")
    assert client.get("/jobs").status_code == 302
