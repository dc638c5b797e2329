"""A scientist at a real browser, in front of a whole running lab."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.stack.processes import ROOT
from tests.stack.running import RunningStack, running_stack

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's Chromium")
PASSWORD = "a long and quiet afternoon"
JOB_MS = 150_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """A simulated lab with two people."""
    with running_stack(tmp_path_factory.mktemp("lab") / "data", "--no-demo", "--scale", "1200") as running:
        running.until_it_says("keeps running until Ctrl-C")
        for name, *rights in (("ada", "--operator"), ("eve",)):
            command = [sys.executable, "manage.py", "create_user", name, "--password-stdin", "--json", *rights]
            environment = {**os.environ, "OCTOLAB_DATA_ROOT": str(running.data)}
            environment["DJANGO_SETTINGS_MODULE"] = "octolab.settings"
            environment.pop("OCTOLAB_SECRET_KEY", None)
            done = subprocess.run(
                command, cwd=ROOT, env=environment, input=PASSWORD, capture_output=True, text=True, check=True
            )
            assert json.loads(done.stdout)["username"] == name
        yield running


@pytest.fixture
def page(stack: RunningStack) -> Iterator[Page]:
    """A browser window that tolerates no error on any page."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
        )
        window = chromium.new_page(base_url=stack.running["address"], viewport={"width": 1280, "height": 900})
        complaints: list[str] = []
        window.on("pageerror", lambda error: complaints.append(str(error)))
        window.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        window.on("response", lambda response: complaints.append(response.url) if response.status >= 500 else None)
        yield window
        chromium.close()
        assert [text for text in complaints if "404" not in text] == []


def sign_in(page: Page, name: str) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.locator(".live")).to_have_text("live", timeout=15_000)


def told_the_stirrer(stack: RunningStack) -> list[str]:
    """Return the commands that reached the hotplate."""
    log = (stack.data / "simulation" / "commands.jsonl").read_text().splitlines()
    return [
        line["verb"] for line in map(json.loads, log) if line["kind"] == "command" and line["instrument"] == "stirrer"
    ]


@pytest.mark.timeout(400)
def test_from_login_to_results(page: Page, stack: RunningStack, tmp_path: Path) -> None:
    page.goto("/login")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("correct")

    sign_in(page, "ada")
    expect(page.get_by_text("Simulated lab")).to_be_visible()
    expect(page.locator(".tile.s-idle").first).to_be_visible(timeout=60_000)
    expect(page.get_by_role("heading", name="UV-Vis spectroscopy")).to_be_visible()

    page.get_by_role("link", name="Submit", exact=True).click()
    page.get_by_role("link", name="AgNO3 series").click()
    editor = page.get_by_label("The job, as YAML or JSON")
    expect(editor).to_have_value(re.compile("Citrate"))
    text = editor.input_value()
    editor.fill(text.replace("1200 µL, rate", "1200 s, rate", 1))
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("alert")).to_contain_text("volume")

    editor.fill(text.replace("count: 6", "count: 2"))
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_role("status").filter(has_text="is a good job")).to_contain_text("finish in")
    page.get_by_role("button", name="Submit this job").click()

    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))
    address = page.url
    state = page.locator("#job-status .facts .state").first
    # The page is never loaded again from here on: what changes comes over the websocket.
    page.evaluate("window.sameWindow = true")
    expect(state).to_have_text("Running", timeout=60_000)
    expect(page.locator("#job-timeline svg .bar").first).to_be_visible()
    expect(state).to_have_text("Completed", timeout=JOB_MS)
    expect(page.locator("#job-results svg .curve")).to_have_count(2, timeout=15_000)
    expect(page.locator("#job-results tbody tr").first).to_contain_text("100")
    assert page.evaluate("window.sameWindow") is True

    for channel in ("1", "4"):
        told = [verb for verb in told_the_stirrer(stack) if verb in (f"START_{channel}", f"STOP_{channel}")]
        assert told[0] == f"START_{channel}"
        assert told[-1] == f"STOP_{channel}", "heating and stirring end with the last vial that needs them"

    with page.expect_download() as download:
        page.locator("#job-results tbody a[download]").first.click()
    saved = tmp_path / "spectrum.nxs"
    download.value.save_as(saved)
    assert saved.read_bytes().startswith(b"\x89HDF")
    with page.expect_download() as download:
        page.get_by_role("link", name="Everything (ZIP)").click()
    download.value.save_as(tmp_path / "everything.zip")
    with zipfile.ZipFile(tmp_path / "everything.zip") as archive:
        assert archive.testzip() is None
        assert b"name: Silver nanoparticles" in archive.read("job.yaml")

    page.get_by_role("button", name="Sign out").click()
    sign_in(page, "eve")
    assert (answer := page.goto(address)) is not None
    assert answer.status == 404
    page.goto("/jobs")
    expect(page.get_by_text("No job matches")).to_be_visible()
    expect(page.get_by_role("link", name="Operator")).to_have_count(0)


@pytest.mark.timeout(300)
def test_a_person_is_asked_and_answers(page: Page) -> None:
    sign_in(page, "ada")
    page.goto("/jobs/new")
    page.get_by_role("link", name="judged by eye").click()
    editor = page.get_by_label("The job, as YAML or JSON")
    expect(editor).to_have_value(re.compile("confirm_colour"))
    page.get_by_role("button", name="Check").click()
    page.get_by_role("button", name="Submit this job").click()
    asked = page.locator("#job-questions")
    expect(asked).to_contain_text("Confirm the colour", timeout=90_000)
    expect(asked).to_contain_text("Batch synthesis: vial slot")
    asked.get_by_role("link", name="Answer").click()

    expect(page.get_by_text("Which colour has it?")).to_be_visible()
    page.get_by_role("button", name="It cannot be done").click()
    expect(page.get_by_role("alert")).to_contain_text("why")
    page.get_by_label("Colour").select_option("yellow")
    page.get_by_label(re.compile("^Note")).fill("like weak tea")
    page.get_by_role("button", name="Done", exact=True).click()

    expect(page).to_have_url(re.compile("/jobs/[0-9a-f-]{36}$"))
    expect(page.locator("#job-status .facts .state").first).to_have_text("Completed", timeout=90_000)
    expect(page.locator("#job-results")).to_contain_text("yellow")
    expect(page.locator("#job-questions")).not_to_contain_text("Confirm")
