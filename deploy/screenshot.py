"""Photograph the page of a finished demo job, for the README. Needs Debian's Chromium."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "job.png"
READY_WITHIN_S = 300.0
WIDTH_PX = 1280
MARGIN_PX = 24


def main() -> int:
    """Run the demo and take the picture."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("deploy/screenshot needs Chromium (Debian: apt-get install chromium)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="octolab-picture-") as folder:
        output = Path(folder) / "output"
        command = [sys.executable, "-m", "octolab.stack", "up", "--port", "0", "--data", f"{folder}/data"]
        with output.open("w") as file:
            stack = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)  # noqa: S603
        try:
            said = _until_done(stack, output)
            address, password, job = (
                re.search(pattern, said)
                for pattern in (r"Dashboard +(\S+)", r"password (\S+) ", r"as job ([0-9a-f-]{36})")
            )
            if not (address and password and job):
                print(f"the demo did not run:\n{said}", file=sys.stderr)
                return 1
            _photograph(chromium, address[1], password[1], job[1])
        finally:
            stack.send_signal(signal.SIGTERM)
            stack.wait(timeout=120)
    print(PICTURE)
    return 0


def _until_done(stack: subprocess.Popen[bytes], output: Path) -> str:
    give_up_s = time.monotonic() + READY_WITHIN_S
    while "keeps running until Ctrl-C" not in (said := output.read_text()):
        if stack.poll() is not None or time.monotonic() > give_up_s:
            break
        time.sleep(0.2)
    return said


def _photograph(chromium: str, address: str, password: str, job: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH_PX, "height": 900}, device_scale_factor=1.5)
        page.goto(f"{address}/login")
        page.fill("input[name=username]", "demo")
        page.fill("input[name=password]", password)
        page.press("input[name=password]", "Enter")
        page.wait_for_load_state("networkidle")
        page.goto(f"{address}/jobs/{job}")
        page.wait_for_load_state("load")
        page.wait_for_timeout(1500)
        PICTURE.parent.mkdir(parents=True, exist_ok=True)
        table = page.locator("#job-results table").first
        bottom = table.evaluate("table => table.getBoundingClientRect().bottom") + MARGIN_PX
        page.screenshot(path=PICTURE, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH_PX, "height": bottom})
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
