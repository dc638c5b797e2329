"""Refusals of deploy/up, before anything is started."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from octolab.stack.example import fitting_example
from octolab.stack.options import parse
from octolab.stack.secret_files import secret_file
from octolab.stack.words import manage

from .processes import ROOT


def up(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "octolab.stack", "up", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = up("--port", str(port), "--data", str(tmp_path))
    assert done.returncode == 1
    assert f"port {port} is taken by another program" in done.stdout
    assert "--port" in done.stdout


def test_a_data_folder_belongs_to_one_stack(tmp_path: Path) -> None:
    with (tmp_path / "stack.lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = up("--port", "0", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "another stack (process 4711) runs on" in done.stdout
    assert "--data" in done.stdout


def test_a_bad_lab_file_is_refused_with_line_and_reason(tmp_path: Path) -> None:
    lab = tmp_path / "lab.toml"
    lab.write_text('name = "x"\ntimezone = "Mars/Olympus"\n[modules.a]\npackage = "modules.virtual"\n')
    done = up("--port", "0", "--data", str(tmp_path / "data"), "--lab", str(lab))
    assert done.returncode == 1
    assert f"{lab}:2: timezone: 'Mars/Olympus' is not an IANA time zone" in done.stdout


def test_real_devices_cannot_hurry(tmp_path: Path) -> None:
    done = up("--port", "0", "--data", str(tmp_path), "--lab", "octolab/labs/real-example.toml", "--scale", "60")
    assert done.returncode == 1
    assert "--scale: the lab has real devices, which cannot hurry" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--port", "99999"], "is not a port"),
        (["--scale", "0"], "is not a time scale"),
        (["--lab", "/no/such/lab.toml"], "there is no file /no/such/lab.toml"),
        (["--once", "--no-demo"], "not allowed with"),
    ],
)
def test_a_wrong_command_line_is_told(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([*arguments, "--data", str(tmp_path)])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    first = secret_file(tmp_path / "secrets", "key").read_text()
    os.chmod(tmp_path / "secrets" / "key", 0o644)
    path = secret_file(tmp_path / "secrets", "key")
    assert path.read_text() == first
    assert len(first) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret_file(tmp_path / "secrets", "other").read_text() != first


def test_commands_to_copy_work_from_the_folder_one_is_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(ROOT / ".venv" / "bin" / "python"))
    monkeypatch.chdir(ROOT)
    assert manage(ROOT / "var", "changepassword", "demo") == ".venv/bin/python manage.py changepassword demo"
    other = tmp_path / "my data"
    assert manage(other, "migrate") == f"OCTOLAB_DATA_ROOT='{other}' .venv/bin/python manage.py migrate"
    monkeypatch.chdir(tmp_path)
    assert manage(ROOT / "var", "migrate") == f"{ROOT}/.venv/bin/python {ROOT}/manage.py migrate"


@pytest.mark.parametrize(
    ("modules", "example"),
    [
        (["uv_vis", "batch_synthesis", "people"], "silver-nanoparticles.yaml"),
        (["virtual"], "virtual.yaml"),
        (["uv_vis"], "uv-only.yaml"),
        (["mine"], None),
    ],
)
def test_the_demo_is_an_example_that_fits_the_lab(modules: list[str], example: str | None) -> None:
    found = fitting_example(modules)
    assert (found and found.name) == example
