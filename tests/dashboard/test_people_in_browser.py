"""People at a real browser: every page under the content policy, second factors, passkeys, sessions, coming in."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.prepare_web import PASSWORD
from tests.services import MongoServer, RedisServer
from tests.web import WebServer

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium"), pytest.mark.timeout(280)]
Open = Callable[[], Page]
VIOLATIONS = "document.addEventListener('securitypolicyviolation', e => console.error('CSP: ' + e.violatedDirective))"
PICTURES = os.environ.get("OCTOLAB_TEST_PICTURES")
"""A folder for a picture of every page; none are taken without."""


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process with ann and ben, the operator olga, and the admin ada."""
    web = WebServer(
        tmp_path_factory.mktemp("web"), mongo_url=mongo_server.url("people_pages"), redis_url=redis_server.url
    )
    web.environment["OCTOLAB_PUBLIC_URL"] = home(web)
    web.prepare("--full")
    collect_static(web)
    with web:
        yield web


def home(web: WebServer) -> str:
    """Return the address that browsers use: passkeys need a name, not a number."""
    return f"http://localhost:{web.port}"


def collect_static(web: WebServer) -> None:
    """Put style and scripts where the server looks for them."""
    import subprocess
    import sys

    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=Path(__file__).resolve().parents[2], env={**web.environment, "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip


@pytest.fixture
def window(chromium: Browser, server: WebServer) -> Iterator[Open]:
    """Return a function that opens a window of somebody who was never here; none may complain about anything."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_() -> Page:
        context = chromium.new_context(base_url=home(server), viewport={"width": 1280, "height": 900})
        context.add_init_script(VIOLATIONS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on(
            "console",
            lambda message: complaints.append(f"{page.url}: {message.text}") if message.type == "error" else None,
        )
        page.on(
            "response", lambda response: complaints.append(response.url) if response.status in {500, 502, 503} else None
        )
        return page

    yield open_
    for context in contexts:
        context.close()
    assert [text for text in complaints if not re.search(r"status of (403|404|410|429)", text)] == []


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def again(page: Page, password: str = PASSWORD) -> None:
    """Say one's password once more, where that is asked for."""
    if "/reauthenticate" in page.url:
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Confirm").click()


def picture(page: Page, name: str) -> None:
    """Keep a picture if somebody wants to look."""
    if PICTURES:
        page.screenshot(path=Path(PICTURES) / f"{name}.png", full_page=True)


def code(secret: str) -> str:
    return str(format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time()))))


PUBLIC = ("/login", "/account/signup/", "/account/password/reset/", "/account/password/reset/done/", "/invitation/none",
          "/account/inactive/", "/account/confirm-email/", "/nothing")  # fmt: skip
EVERYBODY_S = ("/asked", "/jobs/compare?job={job}",
               "/", "/jobs", "/jobs/new", "/account", "/accounting", "/estop", "/account/2fa/", "/account/sessions/",
               "/account/email/", "/account/password/change/", "/account/2fa/totp/activate/",
               "/account/2fa/webauthn/", "/account/2fa/webauthn/add/", "/account/3rdparty/",
               "/account/reauthenticate/", "/account/logout/", "/jobs/{job}", "/nothing")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "paths"),
    [("", PUBLIC), ("ann", EVERYBODY_S), ("olga", ("/operator",)), ("ada", ("/admin", "/admin/audit"))],
)
def test_every_page_is_calm_under_the_content_policy(
    window: Open, server: WebServer, name: str, paths: tuple[str, ...]
) -> None:
    page = window()
    if name:
        sign_in(page, name)
    for path in paths:
        answer = page.goto(path.format(job=server.people["ann"]["job"]))
        assert answer is not None
        assert answer.status < 500
        again(page)
        page.wait_for_load_state("load")
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'self'" in policy
        assert page.locator("link[rel=stylesheet][href*='octolab/octolab']").count() == 1, f"{path} is in another style"
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, f"{path} is {overflow} pixels too wide"
        picture(page, f"{name or 'nobody'}{path.replace('/', '-')}")


def test_a_second_factor_is_set_up_and_asked_for(window: Open, server: WebServer) -> None:
    page = window()
    sign_in(page, "ben")
    page.goto("/account/2fa/totp/activate/")
    again(page)
    secret = page.locator("input#authenticator_secret, input[name=secret]").first.input_value()
    picture(page, "totp-activate")
    page.get_by_label("code").fill(code(secret))
    page.get_by_role("button", name="Activate").click()
    expect(page).to_have_url(re.compile("/account/2fa/recovery-codes/"))
    picture(page, "recovery-codes")
    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "ben")
    expect(page).to_have_url(re.compile("/account/2fa/authenticate/"))
    picture(page, "totp-authenticate")
    page.goto("/jobs")
    expect(page.locator(".who")).to_have_count(0)
    page.get_by_label("code").fill("000000")
    page.get_by_role("button", name="Sign In").first.click()
    expect(page).to_have_url(re.compile("/account/2fa/authenticate/"))
    page.get_by_label("code").fill(code(secret))
    page.get_by_role("button", name="Sign In").first.click()
    page.goto("/account")
    expect(page.get_by_role("heading", name="ben")).to_be_visible()


def test_a_role_that_needs_a_second_factor_really_does_and_a_passkey_is_one(window: Open, server: WebServer) -> None:
    admin = window()
    sign_in(admin, "ada")
    admin.goto("/admin")
    admin.get_by_label("Operators need a second factor").check()
    admin.get_by_role("button", name="Save").click()

    page = window()
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True,
                     "hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}},
    )  # fmt: skip
    sign_in(page, "olga")
    for path in ("/operator", "/jobs", "/account", "/"):
        page.goto(path)
        expect(page).to_have_url(re.compile("/account/2fa/"))
    expect(page.get_by_text("needs a second factor").first).to_be_visible()
    picture(page, "factor-needed")
    refused = page.request.get("/api/v1/jobs")
    assert (refused.status, refused.json()["type"]) == (403, "urn:octolab:problem:second-factor")
    page.goto("/account/2fa/webauthn/add/")
    again(page)
    page.get_by_label("Name").fill("my key")
    if page.get_by_label("Passwordless").count():
        page.get_by_label("Passwordless").check()
    page.get_by_role("button", name="Add").click()
    expect(page).to_have_url(re.compile("/account/2fa/(recovery-codes/.*|webauthn/)$"))
    page.goto("/operator")
    expect(page).to_have_url(re.compile("/operator$"))
    page.goto("/account/2fa/")
    picture(page, "factors")
    page.goto("/account/2fa/webauthn/")
    picture(page, "passkeys")
    page.get_by_role("button", name="Sign out").click()
    page.goto("/login")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).not_to_have_url(re.compile("/login"))
    page.goto("/operator")
    expect(page).to_have_url(re.compile("/operator$"))
    with closing(sqlite3.connect(server.directory / "octolab.sqlite3", timeout=30)) as database:
        noted = {verb for (verb,) in database.execute("SELECT verb FROM users_auditentry WHERE actor = 'olga'")}
    assert {"factor.add", "login.succeed", "logout"} <= noted


def test_sessions_are_listed_and_ended(window: Open) -> None:
    here, there = window(), window()
    for page in (here, there):
        sign_in(page, "ann")
        page.goto("/account")
        expect(page.get_by_role("heading", name="ann", exact=True)).to_be_visible()
    here.get_by_role("link", name="Sessions", exact=True).click()
    expect(here.locator("tbody tr")).not_to_have_count(1)
    picture(here, "sessions")
    here.get_by_role("button", name=re.compile("Sign Out Other")).click()
    # Its page notices by itself, and shows nothing of anybody any more.
    expect(there).to_have_url(re.compile("/login"), timeout=20_000)
    here.goto("/account")
    expect(here).to_have_url(re.compile("/account$"))


def test_somebody_is_invited_and_comes_in(window: Open) -> None:
    admin, guest = window(), window()
    sign_in(admin, "ada")
    admin.goto("/admin")
    admin.get_by_label("Sign-up").select_option("invitation")
    admin.get_by_role("button", name="Save").click()
    admin.get_by_label("E-mail").fill("new@example.org")
    admin.get_by_label("Member of").select_option("team-ann")
    admin.get_by_role("button", name="Invite").click()
    link = admin.locator(".note code").inner_text()
    picture(admin, "admin-invited")
    guest.goto(link)
    picture(guest, "signup-invited")
    guest.get_by_label("Username").fill("newcomer")
    guest.get_by_label("Email").fill("new@example.org")
    guest.get_by_label("Password", exact=False).first.fill(PASSWORD)
    guest.get_by_label("Password", exact=False).nth(1).fill(PASSWORD)
    guest.get_by_role("button", name="Make my account").click()
    expect(guest.locator(".who").get_by_role("link", name="newcomer")).to_be_visible()
    assert guest.request.get("/api/v1/me").json()["projects"] == {"newcomer": "admin", "team-ann": "member"}
    late = window()
    late.goto(link)
    expect(late.get_by_text("cannot be used")).to_be_visible()


def test_somebody_signs_up_and_is_let_in(window: Open) -> None:
    admin, guest = window(), window()
    sign_in(admin, "ada")
    admin.goto("/admin")
    admin.get_by_label("Sign-up").select_option("approval")
    admin.get_by_role("button", name="Save").click()
    guest.goto("/account/signup/")
    guest.get_by_label("Username").fill("waiting")
    guest.get_by_label("Email").fill("waiting@example.org")
    guest.get_by_label("Password", exact=False).first.fill(PASSWORD)
    guest.get_by_label("Password", exact=False).nth(1).fill(PASSWORD)
    guest.get_by_role("button", name="Make my account").click()
    expect(guest.locator(".who")).to_have_count(0)
    picture(guest, "signup-waits")
    sign_in(guest, "waiting")
    expect(guest.locator(".who")).to_have_count(0)
    picture(guest, "login-waits")
    admin.goto("/admin")
    row = admin.get_by_role("row").filter(has_text="waiting@example.org").first
    picture(admin, "admin-waiting")
    row.get_by_role("button", name="Let in").click()
    expect(admin.get_by_role("button", name="Let in")).to_have_count(0)
