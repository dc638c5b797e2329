"""Every page in every state at a real browser: for everybody, on a phone too, and honest when the server is away."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.prepare_web import PASSWORD
from tests.services import MongoServer, RedisServer
from tests.web import ROOT, WebServer

from .accessible import barriers, unseen_focus

CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium"), pytest.mark.timeout(280)]
INTERLOCK = """
[[interlocks]]
id = "too_hot"
title = "Hotplate too hot"
reading = "stirrer.temperature_degc"
rule = "band"
trip = [5.0, 90.0]
covers = ["batch_synthesis"]
"""
OUTSIDE = """() => [...document.querySelectorAll("main :is(input, select, textarea, button)")]
  .filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > window.innerWidth)
  .map((one) => `${one.tagName} ${one.name} ${one.id} ${one.textContent.trim().slice(0, 20)}`)"""
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, mongo_server: MongoServer, redis_server: RedisServer
) -> Iterator[WebServer]:
    """A web process in front of a lab in which everything is the case at once."""
    folder = tmp_path_factory.mktemp("states")
    lab = folder / "lab.toml"
    lab.write_text((ROOT / "octolab" / "labs" / "silver.toml").read_text() + INTERLOCK)
    web = WebServer(
        folder / "web", mongo_url=mongo_server.url("states"), redis_url=redis_server.url, OCTOLAB_LAB=str(lab)
    )
    web.prepare(program="tests.prepare_pages")
    subprocess.run(
        [sys.executable, "manage.py", "collectstatic", "--no-input", "--verbosity", "0"],
        cwd=ROOT, env={**web.environment, "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    with web:
        yield web


@pytest.fixture
def window(chromium: Browser, server: WebServer) -> Iterator[Open]:
    """Return a function that opens a window of somebody who has just signed in."""
    contexts = []

    def open_(name: str = "", width: int = 1280, scheme: str = "light") -> Page:
        context = chromium.new_context(
            base_url=f"http://localhost:{server.port}",
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        if name:
            page.goto("/login")
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(PASSWORD)
            page.get_by_role("button", name="Sign in", exact=True).click()
            page.wait_for_url(re.compile(r"/$"))
        return page

    yield open_
    for context in contexts:
        context.close()


ANN = ("/", "/jobs", "/jobs?q=none", "/jobs/new", "/account", "/accounting", "/estop", "/asked", "/what-if",
       "/predictions", "/nothing", "/account/sessions/", "/account/2fa/", "/account/email/",
       "/account/password/change/", "/samples/{sample}", "/samples/{vial}", "/steps/{question}",
       *(f"/jobs/{{{state}}}" for state in (
           "awaiting_approval", "refused", "queued", "needs_operator", "running", "human", "failed", "cancelled",
           "paused", "held", "cancelling", "completed")))  # fmt: skip
ON_A_PHONE = ("/", "/jobs", "/jobs/new", "/account", "/accounting", "/estop", "/what-if", "/samples/{sample}",
              "/steps/{question}", "/jobs/{needs_operator}", "/jobs/{running}", "/jobs/{held}", "/jobs/{completed}",
              "/jobs/compare?job={completed}")  # fmt: skip
NOBODY = (
    "/login",
    "/account/signup/",
    "/account/password/reset/",
    "/invitation/none",
    "/account/inactive/",
    "/nothing",
)


@pytest.mark.parametrize(
    ("name", "paths", "width", "scheme"),
    [
        ("ann", ANN, 1280, "light"),
        ("ann", ON_A_PHONE, 390, "dark"),
        ("olga", ("/operator", "/", "/steps/{question}", "/estop"), 1280, "dark"),
        ("olga", ("/operator",), 390, "light"),
        ("ada", ("/admin", "/admin/audit"), 390, "light"),
        ("eve", ("/", "/jobs", "/account", "/accounting", "/asked"), 1280, "light"),
        ("", NOBODY, 390, "light"),
        ("", NOBODY, 1280, "dark"),
    ],
)
def test_nothing_on_a_page_stands_in_anybodys_way(
    window: Open, server: WebServer, name: str, paths: tuple[str, ...], width: int, scheme: str
) -> None:
    page, wrong = window(name, width, scheme), {}
    for path in paths:
        page.goto(path.format(**server.people))
        if name:
            expect(page.locator("#estop-banner .stopped").first).to_be_visible()
        found = barriers(page)
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        if overflow > 0:
            found.append(f"{overflow} pixels too wide")
        found += [f"{control} reaches out of the window" for control in page.evaluate(OUTSIDE)]
        if found:
            wrong[path] = found
    assert wrong == {}


@pytest.mark.parametrize(("name", "path"), [("ann", "/jobs/{running}"), ("olga", "/operator"), ("", "/login")])
def test_who_goes_by_keyboard_sees_where_they_are(window: Open, server: WebServer, name: str, path: str) -> None:
    page = window(name)
    page.goto(path.format(**server.people))
    assert unseen_focus(page) == []


def test_every_page_says_what_is_tripped_by_whom_and_what_to_do(window: Open, server: WebServer) -> None:
    page = window("ann")
    for path in ("/", "/jobs/new", f"/jobs/{server.people['completed']}", "/nothing"):
        page.goto(path)
        banner = page.locator("#estop-banner")
        expect(banner).to_contain_text("EMERGENCY STOP of UV-Vis spectroscopy, by ann")
        expect(banner).to_contain_text("smoke above the cuvettes")
        expect(banner).to_contain_text("an operator has to re-arm")
        expect(banner).to_contain_text("INTERLOCK Hotplate too hot has tripped")
        expect(banner).to_contain_text("Pump: hydrogen peroxide by olga (new tubing) until")
        expect(banner).to_contain_text("Without connection: UV-Vis spectrometer")
    desk = window("olga")
    desk.goto("/jobs")
    for link in ("1 step needs your decision", "1 job waits for your approval", "1 step waits for a person"):
        expect(desk.locator("#estop-banner").get_by_role("link", name=re.compile(link))).to_be_visible()


def test_the_desk_says_what_moves_after_each_decision(window: Open) -> None:
    page = window("olga")
    page.goto("/operator")
    asked = page.locator("#attention")
    expect(asked).to_contain_text("Add a solution: 1200 µL of Citrate")
    expect(asked).to_contain_text("Batch synthesis: vial slot 1")
    expect(asked).to_contain_text("Add a solution: 1200 µL of H2O2 is next and moves Linear actuator, pumps")


def test_a_failed_job_says_what_failed_and_why(window: Open, server: WebServer) -> None:
    page = window("ann")
    page.goto(f"/jobs/{server.people['failed']}")
    status = page.locator("#job-status")
    expect(status).to_contain_text("Measure the absorbance: prepare")
    expect(status).to_contain_text("pipette: no answer within 2 s to the last command")
    expect(page.locator("#job-results")).to_contain_text("Nothing was measured")
    expect(page.locator("#job-samples tbody tr").first).to_contain_text("Vial storage 6.9")
    page.get_by_text("Steps: as planned, and as they went").click()
    expect(page.locator("#job-steps tbody tr").filter(has_text="Failed")).to_have_count(1)


def test_the_audit_log_is_read_as_sentences(window: Open) -> None:
    page = window("ada")
    page.goto("/admin/audit")
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="ann made the project project-3")).to_have_count(1)
    expect(rows.filter(has_text="gave olga the role operator")).to_have_count(1)
    expect(page.locator("tbody")).not_to_contain_text("{")
    page.get_by_label("Text").fill("calibration of nothing")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("Nothing matches")).to_be_visible()


def test_a_page_never_shows_the_past_as_if_it_were_now(window: Open, server: WebServer) -> None:
    page = window("ann")
    page.goto(f"/jobs/{server.people['paused']}")
    expect(page.locator(".live")).to_have_text("live")
    state = page.locator("#job-status .facts .state").first
    expect(state).to_have_text("Paused")
    page.evaluate("window.sameWindow = true")
    server.stop()
    expect(page.get_by_text("The server does not answer")).to_be_visible(timeout=30_000)
    expect(page.locator("#link-notice .age")).to_have_text(re.compile(r"^\d+ (s|min)$"))
    expect(page.locator(".live")).to_have_text("reconnecting…")
    with closing(sqlite3.connect(server.directory / "octolab.sqlite3", timeout=30)) as database:
        database.execute(
            "UPDATE scheduler_job SET state = 'running' WHERE id = ?", [server.people["paused"].replace("-", "")]
        )
        database.commit()
    server.start()
    expect(page.locator(".live")).to_have_text("live", timeout=60_000)
    expect(page.get_by_text("The server does not answer")).to_be_hidden()
    expect(state).to_have_text("Running")
    assert page.evaluate("window.sameWindow") is True


def test_the_last_change_is_shown_however_many_come_at_once_and_however_slow_answers_are(
    window: Open, server: WebServer
) -> None:
    page, job = window("ann"), server.people["held"]
    page.goto(f"/jobs/{job}")
    expect(page.locator(".live")).to_have_text("live")
    asked: list[str] = []

    def slowly(route: Route) -> None:
        asked.append(route.request.url)
        time.sleep(0.3)
        route.continue_()

    page.route("**/part/status", slowly)
    names = [f"named {number}" for number in range(12)]
    with closing(sqlite3.connect(server.directory / "octolab.sqlite3", timeout=30)) as database:
        for name in names:
            database.execute("UPDATE scheduler_job SET name = ? WHERE id = ?", [name, job.replace("-", "")])
            database.execute(
                "INSERT INTO scheduler_event (seq, at, lab_s, kind, subject, job_id, project_id, state_from, state_to,"
                " actor, reason, data) SELECT (SELECT MAX(seq) + 1 FROM scheduler_event), at, lab_s, kind, subject,"
                " job_id, project_id, state_from, state_to, actor, reason, data FROM scheduler_event"
                " WHERE job_id = ? AND kind = 'job' LIMIT 1",
                [job.replace("-", "")],
            )
            database.commit()
            page.wait_for_timeout(150)
    expect(page.get_by_role("heading", level=1)).to_have_text(names[-1], timeout=20_000)
    assert 1 < len(asked) < len(names) + 3


def test_an_emergency_stop_that_did_not_get_through_says_so(window: Open, server: WebServer) -> None:
    page = window("ann")
    page.goto("/jobs")
    page.on("dialog", lambda dialog: dialog.accept())
    page.route("**/estop", lambda route: route.abort())
    page.get_by_role("button", name="STOP: emergency stop of the whole lab").click()
    expect(page.get_by_role("alert").filter(has_text="NOT STOPPED")).to_contain_text("on the wall")
    page.unroute("**/estop")
    page.get_by_role("button", name="STOP: emergency stop of the whole lab").click()
    expect(page).to_have_url(re.compile("/estop$"))
    expect(page.get_by_text("The emergency stop of the whole lab is tripped")).to_be_visible()
    olga = window("olga")
    olga.goto("/estop")
    olga.get_by_label("Re-arm the whole lab: what did you check at the bench?").fill("nothing burns")
    olga.locator("#rearm-lab").get_by_role("button", name="Re-arm").click()
    expect(olga.get_by_text("The emergency stop of the whole lab is tripped")).to_have_count(0)


def test_what_is_refused_is_a_page_that_says_what_to_do(window: Open) -> None:
    page = window("ann")
    page.goto("/account")
    page.context.clear_cookies(name="csrftoken")
    page.get_by_label("Name").first.fill("x")
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name="Not done yet")).to_be_visible()
    guesser = window()
    for _ in range(11):
        guesser.goto("/login")
        if not guesser.get_by_label("Password").count():
            break
        guesser.get_by_label("Name").fill("eve")
        guesser.get_by_label("Password").fill("not the password")
        guesser.get_by_role("button", name="Sign in", exact=True).click()
        if guesser.get_by_role("heading", name="Too often").count():
            break
    expect(guesser.get_by_text(re.compile("You can try again in \\d+ minutes"))).to_be_visible()


def test_a_job_is_written_with_forms_and_checked_while_it_is_written(window: Open) -> None:
    page = window("ann")
    page.goto("/jobs/new")
    page.get_by_text("What the lab offers").click()
    page.locator("summary", has_text="Prepare a vial").click()
    page.get_by_role("button", name="Put into the job: Prepare a vial").click()
    page.locator("summary", has_text="Add a solution").click()
    form = page.locator("form[data-task='batch_synthesis.add']")
    form.get_by_role("button").click()
    expect(page.get_by_label("The job, as YAML or JSON")).not_to_have_value(re.compile("add"))
    form.get_by_label("Solution (needed)").select_option("Citrate")
    form.get_by_label("Volume (needed)").fill("12000")
    form.get_by_role("button").click()
    expect(page.locator("#draft")).to_contain_text("12000 µL is too much: 10 µL to 5000 µL is possible")
    editor = page.get_by_label("The job, as YAML or JSON")
    editor.fill(editor.input_value().replace("12000", "1200") + "tags: [written]\n")
    expect(page.locator("#draft")).to_contain_text("Complete: 1 sample")
    page.locator("summary", has_text="batch_synthesis.stir").click()
    page.locator("form[data-task='batch_synthesis.stir']").get_by_label("Speed (needed)").fill("600 rpm")
    page.get_by_role("button", name="Put into the job: Stir").click()
    expect(editor).to_have_value(re.compile(r"stir\n    with: \{speed: 600 rpm\}\n\ntags: \[written\]"))
    expect(page.locator("#draft")).to_contain_text("Complete: 1 sample")
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status").filter(has_text="is a good job")).to_be_visible()


def test_a_token_is_shown_once_with_a_button_that_copies_it(window: Open) -> None:
    page = window("ann")
    page.goto("/account")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Name").first.fill("copied")
    page.get_by_role("button", name="Create").click()
    secret = page.locator(".note code").inner_text()
    assert secret.startswith("octolab_")
    page.get_by_role("button", name="Copy the token").click()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.goto("/account")
    expect(page.get_by_text(secret)).to_have_count(0)
