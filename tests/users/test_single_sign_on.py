"""Single sign-on with a real OpenID Connect provider in a process of its own."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.abuse.conftest import sign_in
from tests.prepare_web import PASSWORD
from tests.services import MongoServer, RedisServer, Service
from tests.web import ROOT, WebServer

START = "/account/oidc/sso/login/?process=login"


class Provider(Service):
    """An OpenID Connect provider that believes whoever says who they are."""

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port)]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def knows(self, sub: str, **claims: Any) -> None:
        """Let it know somebody."""
        httpx.put(f"{self.url}/users/{sub}", json=claims, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """A provider."""
    with Provider(tmp_path_factory.mktemp("provider")) as running:
        assert isinstance(running, Provider)
        yield running


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, provider: Provider, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process that offers to sign in there."""
    web = WebServer(
        tmp_path_factory.mktemp("web"),
        mongo_url=mongo_server.url("sso"),
        redis_url=redis_server.url,
        OCTOLAB_OIDC_URL=provider.url,
        OCTOLAB_OIDC_CLIENT_ID="octolab",
        OCTOLAB_OIDC_SECRET="a secret of both",
        OCTOLAB_OIDC_NAME="University",
    )
    web.prepare("--full")
    with web:
        yield web


@pytest.fixture
def client(server: WebServer) -> Iterator[httpx.Client]:
    """A browser."""
    with httpx.Client(base_url=server.url, timeout=60) as made:
        yield made


def manage(server: WebServer, code: str) -> Any:
    """Run Python beside the server; return what it prints, as JSON."""
    beginning = "import django, json; django.setup()\nfrom users import services\nfrom users.models import *\n"
    done = subprocess.run(
        [sys.executable, "-c", beginning + code],
        cwd=ROOT, env={**server.environment, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "null")


def policy(server: WebServer, sign_up: str) -> None:
    manage(server, f"from users.policies.services import change_policy\nchange_policy(sign_up={sign_up!r})")


def come_in(client: httpx.Client, sub: str) -> httpx.Response:
    """Press the button, say at the provider who one is, and come back; return where that ends."""
    client.get("/login")
    form = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
    there = client.post(START, data=form)
    assert there.status_code == 302
    asked = there.headers["location"]
    assert "code_challenge=" in asked
    assert "state=" in asked
    with httpx.Client(timeout=60) as provider_s:
        back = provider_s.post(asked, data={"sub": sub})
    assert back.status_code == 302, back.text
    return client.get(back.headers["location"], follow_redirects=True)


def who(client: httpx.Client) -> str | None:
    """Return who is signed in."""
    answer = client.get("/api/v1/me")
    return answer.json()["username"] if answer.status_code == 200 else None


def users(server: WebServer) -> list[str]:
    return list(manage(server, "print(json.dumps(list(User.objects.values_list('username', flat=True))))"))


def test_the_button_is_there_and_nothing_starts_by_a_mere_link(server: WebServer, client: httpx.Client) -> None:
    assert "University" in client.get("/login").text
    answer = client.get(START)
    assert answer.status_code == 200, "a page that asks, so that no foreign page signs anybody in"
    assert client.post(START).status_code == 403, "without the form's token"


def test_nobody_comes_in_while_sign_up_is_off(server: WebServer, provider: Provider, client: httpx.Client) -> None:
    policy(server, "off")
    before = users(server)
    provider.knows("x-1", email="x@example.org", email_verified=True, preferred_username="xaver")
    come_in(client, "x-1")
    assert who(client) is None
    assert users(server) == before


def test_who_comes_by_approval_waits_for_an_admin(server: WebServer, provider: Provider, client: httpx.Client) -> None:
    policy(server, "approval")
    provider.knows("y-1", email="yara@example.org", email_verified=True, preferred_username="yara")
    come_in(client, "y-1")
    assert who(client) is None
    assert "yara" in users(server)
    manage(server, "from users.accounts.services import admit\nadmit(User.objects.get(username='yara'))")
    come_in(client, "y-1")
    assert who(client) == "yara"
    found = manage(server, "from users.audit.models import AuditEntry\nprint(json.dumps(list(AuditEntry.objects"
                   ".filter(actor='yara').values_list('verb', flat=True))))")  # fmt: skip
    assert {"user.signup", "login.succeed"} <= set(found)


def test_who_was_invited_comes_in_at_once(server: WebServer, provider: Provider, client: httpx.Client) -> None:
    policy(server, "invitation")
    code = "from users.accounts.services import invite\nprint(json.dumps(invite('zoe@example.org',"
    link = manage(server, code + "Project.objects.get(slug='team-ann'))[1]))")
    provider.knows("z-1", email="zoe@example.org", email_verified=True, preferred_username="zoe")
    with httpx.Client(base_url=server.url, timeout=60) as uninvited:
        come_in(uninvited, "z-1")
        assert who(uninvited) is None
    client.get(re.sub(r"https?://[^/]+", "", link))
    come_in(client, "z-1")
    assert who(client) == "zoe"
    assert client.get("/api/v1/me").json()["projects"] == {"zoe": "admin", "team-ann": "member"}
    with httpx.Client(base_url=server.url, timeout=60) as again:
        come_in(again, "z-1")
        assert who(again) == "zoe", "the account is linked by the provider's id"


@pytest.mark.parametrize("verified", [False, True])
def test_an_address_is_nobody(server: WebServer, provider: Provider, client: httpx.Client, verified: bool) -> None:
    """Who has, or only claims, somebody's address at the provider does not become them."""
    manage(server, "from allauth.account.models import EmailAddress\nuser = User.objects.get(username='ben')\n"
           "user.email = 'ben@example.org'\nuser.save()\n"
           "EmailAddress.objects.get_or_create(user=user, email=user.email, verified=True, primary=True)")  # fmt: skip
    policy(server, "approval")
    sub = f"evil-{verified}"
    provider.knows(sub, email="ben@example.org", email_verified=verified, preferred_username="ben")
    come_in(client, sub)
    assert who(client) is None
    linked = "from allauth.socialaccount.models import SocialAccount\nprint(json.dumps(list("
    linked += "SocialAccount.objects.filter(user__username='ben').values_list('uid', flat=True))))"
    assert manage(server, linked) == []


def test_who_is_signed_in_links_an_account_with_their_password(
    server: WebServer, provider: Provider, client: httpx.Client
) -> None:
    policy(server, "off")
    provider.knows("ann-1", email="somewhere@example.org", email_verified=False, preferred_username="somebody")
    sign_in(client, "ann", PASSWORD)
    form = {"csrfmiddlewaretoken": client.cookies["csrftoken"]}
    asked = client.post("/account/oidc/sso/login/?process=connect", data=form).headers["location"]
    with httpx.Client(timeout=60) as at_provider:
        back = at_provider.post(asked, data={"sub": "ann-1"}).headers["location"]
    with httpx.Client(base_url=server.url, timeout=60) as somebody_else:
        somebody_else.get(back, follow_redirects=True)
        assert who(somebody_else) is None, "the answer counts only in the session that asked"
    client.get(back, follow_redirects=True)
    with httpx.Client(base_url=server.url, timeout=60) as later:
        come_in(later, "ann-1")
        assert who(later) == "ann"
        assert "ann-1" in later.get("/account/3rdparty/").text or later.get("/account/3rdparty/").status_code == 200


def test_a_deactivated_account_does_not_come_in(server: WebServer, provider: Provider, client: httpx.Client) -> None:
    policy(server, "approval")
    provider.knows("w-1", email="wim@example.org", email_verified=True, preferred_username="wim")
    come_in(client, "w-1")
    manage(server, "from users.accounts.services import admit\nu = User.objects.get(username='wim')\nadmit(u)\n"
           "services.deactivate(u)")  # fmt: skip
    come_in(client, "w-1")
    assert who(client) is None


def test_a_forged_answer_is_refused(server: WebServer, client: httpx.Client) -> None:
    for query in ("?code=x&state=y", "?error=access_denied", "", "?code=x", "?state=" + "z" * 3000):
        answer = client.get(f"/account/oidc/sso/login/callback/{query}", follow_redirects=True)
        assert answer.status_code < 500
        assert who(client) is None


def test_a_provider_that_is_away_is_no_error_of_ours(
    server: WebServer, provider: Provider, client: httpx.Client
) -> None:
    provider.stop()
    client.get("/login")
    answer = client.post(START, data={"csrfmiddlewaretoken": client.cookies["csrftoken"]}, follow_redirects=True)
    assert answer.status_code < 500
    assert "octolab.css" in answer.text


def test_a_provider_that_hangs_holds_nobody_up_who_does_not_ask_it(
    tmp_path: Path, mongo_server: MongoServer, redis_server: RedisServer
) -> None:
    """More people press the button than the web process has threads of any kind, and none gets an answer."""
    hanging = socket.create_server(("127.0.0.1", 0), backlog=50)
    web = WebServer(
        tmp_path / "web",
        mongo_url=mongo_server.url("hanging"),
        redis_url=redis_server.url,
        OCTOLAB_OIDC_URL=f"http://127.0.0.1:{hanging.getsockname()[1]}",
        OCTOLAB_OIDC_CLIENT_ID="octolab",
        OCTOLAB_OIDC_SECRET="a secret of both",
    )
    web.prepare("--full")

    def press() -> int:
        with httpx.Client(base_url=web.url, timeout=60) as visitor:
            visitor.get("/login")
            form = {"csrfmiddlewaretoken": visitor.cookies["csrftoken"]}
            started.release()
            return visitor.post(START, data=form).status_code

    started = threading.Semaphore(0)
    with web, ThreadPoolExecutor(12) as pool, httpx.Client(base_url=web.url, timeout=60) as other:
        pressed = [pool.submit(press) for _ in range(12)]
        for _ in pressed:
            assert started.acquire(timeout=60)
        connection, _ = hanging.accept()
        assert sign_in(other, "ann", PASSWORD).status_code == 302
        headers = {"Authorization": f"Bearer {web.people['ann']['token']}"}
        for _ in range(10):
            assert other.get("/api/v1/me", headers=headers).status_code == 200
        assert not all(one.done() for one in pressed), "they still wait, and held nobody up"
        connection.close()
        hanging.close()
        assert {one.result() for one in pressed} == {302}, "sent back, to sign in with a password"
