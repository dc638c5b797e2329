"""The web process behind a proxy that ends TLS: redirects, cookies, and whom it believes."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.prepare_web import PASSWORD
from tests.services import MongoServer, RedisServer
from tests.web import WebServer

PROXY = {"Host": "lab.example.org", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process with the settings of an open network."""
    web = WebServer(
        tmp_path_factory.mktemp("web"),
        mongo_url=mongo_server.url("proxy"),
        redis_url=redis_server.url,
        OCTOLAB_HTTPS="1",
        OCTOLAB_ALLOWED_HOSTS="lab.example.org",
        OCTOLAB_TRUSTED_ORIGINS="https://lab.example.org",
        OCTOLAB_PUBLIC_URL="https://lab.example.org",
    )
    web.prepare("--full")
    with web:
        yield web


def test_plain_http_is_sent_to_https(server: WebServer) -> None:
    for path in ("/login", "/api/v1/me", "/account/signup/?next=/jobs"):
        answer = httpx.get(f"{server.url}{path}", headers={**PROXY, "X-Forwarded-Proto": "http"}, timeout=60)
        assert answer.status_code == 301
        assert answer.headers["location"] == f"https://lab.example.org{path}"
    assert httpx.get(f"{server.url}/login", headers={"Host": "lab.example.org"}, timeout=60).status_code == 301
    assert httpx.get(f"{server.url}/login", headers={**PROXY, "Host": "evil.example"}, timeout=60).status_code == 400


def test_cookies_and_headers_are_those_of_https(server: WebServer) -> None:
    page = httpx.get(f"{server.url}/login", headers=PROXY, timeout=60)
    token = page.cookies["csrftoken"]
    form = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": token}
    headers = {**PROXY, "Cookie": f"csrftoken={token}", "Referer": "https://lab.example.org/login"}
    done = httpx.post(f"{server.url}/login", data=form, headers=headers, timeout=60)
    assert done.status_code == 302
    cookies = [*page.headers.get_list("set-cookie"), *done.headers.get_list("set-cookie")]
    session = next(cookie for cookie in cookies if cookie.startswith("sessionid="))
    assert "; HttpOnly" in session
    for cookie in cookies:
        assert "; Secure" in cookie
        assert "; SameSite=Lax" in cookie
    for answer in (page, done):
        assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "'unsafe" not in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    without = httpx.post(f"{server.url}/login", data=form, headers={**headers, "Referer": ""}, timeout=60)
    assert without.status_code == 403, "over https a form needs a Referer or Origin of its own"


def test_each_client_s_own_address_is_throttled(server: WebServer) -> None:
    def guess(address: str) -> int:
        wish = {"username": "ben", "password": "wrong"}
        headers = {**PROXY, "X-Forwarded-For": address}
        return httpx.post(f"{server.url}/api/v1/tokens", json=wish, headers=headers, timeout=60).status_code

    assert {guess("192.0.2.66") for _ in range(10)} <= {401, 429}
    assert guess("192.0.2.66") == 429
    assert guess("203.0.113.5, 192.0.2.66") == 429, "only the proxy's own entry counts"
    assert guess("192.0.2.67") == 401
