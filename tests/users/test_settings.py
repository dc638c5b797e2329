"""Settings that keep a server on an open network safe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``manage.py`` in an environment that says nothing else of octolab."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OCTOLAB_", "DJANGO_"))}
    command = [sys.executable, "-W", "error", "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True, check=False
    )


def test_without_a_secret_key_nothing_starts_and_the_reason_is_told() -> None:
    done = manage("check")
    assert done.returncode != 0
    assert "OCTOLAB_SECRET_KEY" in done.stderr
    assert "OCTOLAB_SECRET_KEY_FILE" in done.stderr


def test_the_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("aB3$xyz" * 20)
    done = manage(
        *("check", "--deploy", "--fail-level", "WARNING"),
        OCTOLAB_SECRET_KEY_FILE=str(key),
        OCTOLAB_DATA_ROOT=str(tmp_path),
        OCTOLAB_HTTPS="1",
        OCTOLAB_ALLOWED_HOSTS="lab.example",
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_https_makes_cookies_secure_and_plain_http_a_redirect(tmp_path: Path) -> None:
    code = (
        "import django; django.setup()\n"
        "from django.conf import settings as s\n"
        "from django.test import Client\n"
        "assert s.SESSION_COOKIE_SECURE and s.CSRF_COOKIE_SECURE and s.SESSION_COOKIE_HTTPONLY\n"
        "plain = Client().get('/api/v1/jobs', headers={'host': 'lab.example'})\n"
        "assert plain.status_code == 301 and plain['Location'] == 'https://lab.example/api/v1/jobs', plain\n"
        "assert Client().get('/api/v1/health/live', headers={'host': 'lab.example'}).status_code == 200\n"
        "safe = Client().get('/api/v1/nothing', secure=True, headers={'host': 'lab.example'})\n"
        "assert 'max-age=31536000' in safe['Strict-Transport-Security'], safe.headers\n"
        "forged = Client().get('/api/v1/jobs', headers={'host': 'lab.example', 'x-forwarded-proto': 'https'})\n"
        "assert forged.status_code == 301\n"
    )
    environment = {
        "OCTOLAB_SECRET_KEY": "aB3$xyz" * 20,
        "OCTOLAB_DATA_ROOT": str(tmp_path),
        "OCTOLAB_HTTPS": "1",
        "OCTOLAB_ALLOWED_HOSTS": "lab.example",
        "DJANGO_SETTINGS_MODULE": "octolab.settings",
    }
    (tmp_path / "static").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
