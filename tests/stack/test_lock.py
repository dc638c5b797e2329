"""The lock files: complete, and free of anybody's package index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-test.txt")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+?)(?: ; (.+?))? \\$")


def pins(lock: str) -> list[tuple[str, Version]]:
    lines = (ROOT / "deploy" / lock).read_text().splitlines()
    found = [match for line in lines if (match := PIN.match(line))]
    return [(canonicalize_name(match[1]), Version(match[2])) for match in found]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_alone(lock: str) -> None:
    for line in (ROOT / "deploy" / lock).read_text().splitlines():
        assert PIN.match(line) or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line), line


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_fits_what_the_project_needs(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = list(project["project"]["dependencies"])
    if lock == "requirements-test.txt":
        wanted += project["dependency-groups"]["test"]
    found = pins(lock)
    for text in wanted:
        requirement = Requirement(text)
        versions = [version for name, version in found if name == canonicalize_name(requirement.name)]
        assert versions, f"{text} is missing: write the lock again (see CONTRIBUTING.md)"
        assert all(version in requirement.specifier for version in versions), text


def test_the_tests_run_with_the_versions_that_are_deployed() -> None:
    assert set(pins("requirements.txt")) <= set(pins("requirements-test.txt"))
