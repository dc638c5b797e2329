"""What must hold for each page, walked from the URL table so that none is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.cast import World, person
from tests.dashboard.conftest import world  # noqa: F401
from users.policies.services import change_policy

pytestmark = pytest.mark.django_db
SAMPLE = {"uuid": str(UUID(int=7)), "slug": "x", "str": "x", "int": "7", "path": "x", None: "x"}
_PART = re.compile(r"<(?:(\w+):)?(\w+)>")
_GROUP = re.compile(r"\(\?P<\w+>[^)]*\)")


def pages() -> dict[str, Any]:
    """Return the view of each page by an address of it."""

    def walk(patterns: list[Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                yield from walk(pattern.url_patterns, route)
            elif isinstance(pattern, URLPattern):
                address = _PART.sub(lambda found: SAMPLE[found[1]], route)
                yield (
                    "/" + _GROUP.sub("x", address.replace("^", "").replace("$", "").replace("\\Z", "")),
                    pattern.callback,
                )

    found = dict(walk(get_resolver().url_patterns, ""))
    return {address: view for address, view in found.items() if not address.startswith("/api/")}


PAGES = sorted(pages())


def test_the_walk_finds_the_pages() -> None:
    assert len(PAGES) > 60
    assert {"/login", "/jobs/new", "/account/tokens", "/admin/settings", "/operator/lock", "/estop"} <= set(PAGES)
    assert [page for page in PAGES if page.startswith("/account/2fa/")]


@pytest.mark.parametrize("who", ["ann", "nobody"])
def test_no_form_is_taken_without_its_csrf_token_or_from_a_foreign_page(who: str) -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    if who == "ann":
        user = person("ann", operator=True, admin=True).user
        assert user
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    client.get("/login")
    good = client.cookies["csrftoken"].value if "csrftoken" in client.cookies else "x" * 32
    for page in PAGES:
        for form, headers in (
            ({}, {}),
            ({"csrfmiddlewaretoken": "x" * 64}, {}),
            ({"csrfmiddlewaretoken": good}, {"Origin": "https://evil.example"}),
            ({"csrfmiddlewaretoken": good}, {"Origin": "null"}),
        ):
            answer = client.post(page, form, headers=headers)
            assert answer.status_code in (403, 404, 405), f"{page} took {form} from {headers}: {answer.status_code}"
            assert answer.status_code == 403 or page_of(client, page) in (404, 405), page
    exempt = [page for page, view in pages().items() if getattr(view, "csrf_exempt", False)]
    assert exempt == []


def page_of(client: Client, page: str) -> int:
    return client.get(page).status_code


def signed_in(world: World, name: str) -> Client:  # noqa: F811
    client = Client(raise_request_exception=False)
    user = world.people[name].user
    if user is not None:
        client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.parametrize("name", ["anonymous", "owner", "admin", "operator"])
def test_every_page_and_error_has_the_headers_and_no_inline_script(world: World, name: str) -> None:  # noqa: F811
    change_policy(sign_up="approval")
    client = signed_in(world, name)
    addresses = [page for page in PAGES if page not in ("/logout", "/account/logout/")]
    addresses += [f"/jobs/{world.job.pk}", f"/samples/{world.sample.pk}", f"/steps/{world.step.pk}", "/projects/team",
                  "/nothing", "/jobs/nothing", "/static/nothing", "/a%00b", "/account/confirm-email/nothing/",
                  "/account/password/reset/key/1-nothing/"]  # fmt: skip
    seen = set()
    for address in addresses:
        for answer in (client.get(address), client.get(address, headers={"HX-Request": "true"})):
            seen.add(answer.status_code)
            assert answer.status_code < 500, address
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff", address
            assert answer.headers["X-Frame-Options"] == "DENY", address
            assert answer.headers["Referrer-Policy"] == "same-origin", address
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin", address
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", address
            assert "camera=()" in answer.headers["Permissions-Policy"]
            if answer.headers.get("Content-Type", "").startswith("text/html") and not answer.streaming:
                no_inline(answer.content.decode(), address)
    assert {200, 302, 404} <= seen or name == "anonymous"


def no_inline(text: str, address: str) -> None:
    assert not re.search(r"<[^>]+\son[a-z]+\s*=", text), f"{address}: an inline handler"
    assert not re.search(r"<style|<[^>]+\sstyle\s*=|javascript:", text), f"{address}: an inline style"
    for tag in re.findall(r"<script[^>]*>", text):
        assert " src=" in tag or 'type="application/json"' in tag, f"{address}: {tag}"


def test_error_pages_have_no_inline_script_either(monkeypatch: pytest.MonkeyPatch, world: World) -> None:  # noqa: F811
    from octolab.dashboard import jobs

    client = signed_in(world, "owner")
    client.raise_request_exception = False
    # A page that stumbles.
    monkeypatch.setattr(jobs, "render", lambda *args, **more: 1 / 0, raising=False)
    broken = client.get("/jobs")
    assert broken.status_code == 500
    no_inline(broken.content.decode(), "500")
    assert "default-src 'self'" in broken.headers["Content-Security-Policy"]
    assert "ZeroDivisionError" not in broken.content.decode()
    forbidden = Client(enforce_csrf_checks=True).post("/login", {})
    assert forbidden.status_code == 403
    no_inline(forbidden.content.decode(), "403")
    assert "default-src 'self'" in forbidden.headers["Content-Security-Policy"]
