"""What a page shows where the lab file cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from users.services import create_user

pytestmark = pytest.mark.django_db


def test_a_bad_lab_file_is_a_page_and_its_reason_is_for_the_log(
    tmp_path: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.LAB_FILE = tmp_path / "lab.toml"
    settings.LAB_FILE.write_text('nmae = "Lab"\n[modules]\n')
    client = Client()
    client.force_login(create_user("eve", "a-pass-phrase-of-eve"))
    page = client.get("/")
    assert page.status_code == 503
    assert "The lab is not set up" in page.content.decode()
    assert str(tmp_path) not in page.content.decode()
    assert f"{settings.LAB_FILE}:1: nmae: there is no key 'nmae' here; did you mean 'name'?" in caplog.text
