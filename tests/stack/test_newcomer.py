"""What a newcomer sees: the whole stack, the demo job through REST, its results, and a clean end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from h5py import File

from modules.contract.hands import order
from modules.contract.lab import load
from octolab.client import NotAuthenticatedError, Octolab

from .processes import ROOT
from .running import RunningStack, descendants, left_alive, running_stack

SCALE = "1800"
SILVER = ROOT / "octolab" / "labs" / "silver.toml"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> RunningStack:
    """A stack that ran the demo job once and has ended."""
    stack = RunningStack(tmp_path_factory.mktemp("once") / "data", "--once", "--port", "0", "--scale", SCALE)
    stack.wait()
    return stack


def test_the_demo_completes_with_exit_code_0(once: RunningStack) -> None:
    assert once.process.returncode == 0, once.output
    assert re.search(r"Submitted silver-nanoparticles\.yaml as job [0-9a-f-]{36}", once.output)
    assert re.search(r"completed +(\d+) of \1 steps", once.output)


def test_the_result_table_has_the_peaks_of_six_samples(once: RunningStack) -> None:
    rows = re.findall(r"completed +(\d+) µL +\S+ +([\d.]+) +([\d.]+) +([\d.]+)", once.output)
    volumes_ul = [int(row[0]) for row in rows]
    peaks_nm = [float(row[1]) for row in rows]
    assert volumes_ul == [100, 320, 540, 760, 980, 1200], once.output
    assert peaks_nm == sorted(peaks_nm)
    assert re.search(r"peak_nm +fwhm_nm +peak_height", once.output), "not in the order that the module declares"
    assert all(300 < peak < 849 for peak in peaks_nm)


def test_the_files_of_the_job_hold_spectra(once: RunningStack) -> None:
    spectra = 0
    for path in (once.data / "raw").rglob("*.nxs"):
        with File(path) as file:
            found: list[str] = []
            file.visit(lambda name, found=found: found.append(name))
            spectra += any(name.endswith("/absorbance") for name in found)
    assert spectra == 6


def test_the_password_is_shown_once_and_kept_nowhere(once: RunningStack) -> None:
    password = re.search(r"password (\S+) +\(shown this once\)", once.output)
    assert password
    for log in (once.data / "logs").iterdir():
        assert password[1] not in log.read_text(), log


def test_secrets_stand_in_no_log(once: RunningStack) -> None:
    for secret in (once.data / "secrets").iterdir():
        assert secret.stat().st_mode & 0o777 == 0o600
        text = secret.read_text().strip()
        assert len(text) == 64
        assert text not in once.output
        for log in (once.data / "logs").iterdir():
            assert text not in log.read_text(), log
    assert (once.data / "secrets").stat().st_mode & 0o777 == 0o700


def test_the_demo_leaves_room_and_stocks_for_the_next(once: RunningStack) -> None:
    assert "The 6 samples were taken out of the storage again" in once.output
    environment = {**os.environ, "OCTOLAB_DATA_ROOT": str(once.data)}
    with running_stack(once.data, "--no-demo") as again:
        again.until_it_says("keeps running until Ctrl-C")
        command = [sys.executable, "manage.py", "create_user", "eve", "--token", "--json"]
        made = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        with Octolab(again.running["address"], json.loads(made.stdout)["token"]) as lab:
            assert not [place["name"] for place in lab.storage() if place["taken"]]
            levels = {stock["id"]: (stock["level"], stock["reserved"]) for stock in lab.stocks()}
            world = order(once.data / "simulation", do="state")["world"]
        assert again.stop() == 0
    first = {stock.id: (pytest.approx(stock.level), 0) for stock in load(SILVER).stocks}
    assert levels == first
    vials = {name: vessel for name, vessel in world["standing"].items() if name.startswith("vial_storage")}
    assert len(vials) == 60
    assert not [name for name, vessel in vials.items() if vessel["portions"]], "used vials stand for fresh ones"


def test_a_second_start_goes_on_with_the_same_lab(once: RunningStack) -> None:
    with running_stack(once.data, "--scale", SCALE) as again:
        again.until_it_says("Submitted silver-nanoparticles.yaml")
        assert "shown this once" not in again.output
        again.until_it_says("keeps running until Ctrl-C")
        command = re.search(r"for a new password:\n +(.+ changepassword demo)", again.output)
        assert command
        # Without a terminal it reads what stands in for one.
        typed = subprocess.run(
            command[1], shell=True, cwd=ROOT, input="Seven-grey-herons\n" * 2, text=True, start_new_session=True
        )
        assert typed.returncode == 0
        started = descendants(again.process.pid)
        assert len(started) >= 8
        assert again.stop() == 0
    assert left_alive(started) == set()
    assert "everything has stopped" in again.output
    assert not (once.data / "running.json").exists()


def test_processes_know_no_more_than_they_need(tmp_path: Path) -> None:
    with running_stack(tmp_path / "data", "--no-demo") as stack:
        stack.until_it_says("keeps running until Ctrl-C")
        secrets = [file.read_text().strip() for file in (stack.data / "secrets").iterdir()]
        assert len(secrets) == 2
        for pid in {stack.process.pid, *descendants(stack.process.pid)}:
            line = Path(f"/proc/{pid}/cmdline").read_text()
            assert not any(secret in line for secret in secrets), line
        for name in ("host", "simulation"):
            environment = Path(f"/proc/{stack.pids[name]}/environ").read_text()
            names = {entry.partition("=")[0] for entry in environment.split("\0")}
            assert names.isdisjoint(
                {"DJANGO_SETTINGS_MODULE", "OCTOLAB_SECRET_KEY", "OCTOLAB_SECRET_KEY_FILE", "OCTOLAB_DATABASE_URL"}
            )
        with Octolab(stack.running["address"], "octolab_" + "0" * 64) as lab, pytest.raises(NotAuthenticatedError):
            lab.jobs()
        started = descendants(stack.process.pid)
        stack.process.kill()
        stack.process.wait()
        assert left_alive(started) == set()


VIRTUAL = ROOT / "octolab" / "labs" / "virtual.toml"


def test_another_lab_is_shown_with_an_example_that_fits_it(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "data", "--once", "--port", "0", "--lab", str(VIRTUAL), "--scale", SCALE)
    assert stack.wait() == 0, stack.output
    assert "Submitted virtual.yaml" in stack.output


def test_a_lab_that_does_not_offer_the_job_refuses_it(tmp_path: Path) -> None:
    job = ROOT / "octolab" / "examples" / "silver-nanoparticles.yaml"
    stack = RunningStack(tmp_path / "data", "--once", "--port", "0", "--lab", str(VIRTUAL), "--job", str(job))
    assert stack.wait() == 1
    assert "The lab does not take silver-nanoparticles.yaml" in stack.output
    assert "batch_synthesis" in stack.output


def test_another_job_can_be_the_demo(tmp_path: Path) -> None:
    lab = Path(__file__).parents[2] / "octolab" / "labs" / "virtual.toml"
    job = tmp_path / "job.yaml"
    job.write_text(json.dumps({"name": "seven", "workflow": [{"task": "virtual.noop", "with": {"value": 7}}]}))
    stack = RunningStack(tmp_path / "data", "--once", "--port", "0", "--lab", str(lab), "--job", str(job))
    assert stack.wait() == 0, stack.output
