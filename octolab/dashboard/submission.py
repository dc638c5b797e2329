"""What the submit page does with a document: check, predict, submit; and the examples that ship."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from scheduler import catalogue
from scheduler.jobformat.problems import JobRefused, Problem
from scheduler.jobformat.unused import warnings_of
from scheduler.models import Job
from scheduler.services.jobs import IdempotencyConflict, LabNotReady, check_job, submit_job
from scheduler.services.limits import OverLimit
from scheduler.services.previews import predict
from users.models import Project, User

_FOLDER = Path(settings.BASE_DIR) / "octolab" / "examples"


@dataclass(frozen=True)
class Example:
    """A job to start from."""

    name: str
    title: str
    about: str
    text: str
    tasks: frozenset[str]


@cache
def examples() -> tuple[Example, ...]:
    """Return the examples that ship; the first comment of each says what it is about, its name is its title."""
    found = []
    for path in sorted(_FOLDER.glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        about = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), "")
        title = next(
            (line.removeprefix("name: ") for line in text.splitlines() if line.startswith("name: ")), path.stem
        )
        found.append(Example(path.stem, title, about, text, frozenset(re.findall(r"task: (\S+)", text))))
    return tuple(found)


def fitting() -> list[Example]:
    """Return the examples whose tasks this lab offers; all of them as long as a module has not told its tasks."""
    lab = catalogue.current()
    return [one for one in examples() if not lab.complete or one.tasks <= set(lab.task_names)]


def look_at(
    user: User, document: str, project: str, *, predicted: bool = True
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """Check a document; return what it would become and when, or what is wrong with it."""
    try:
        checked = check_job(user=user, document=document, project=project or None)
    except JobRefused as refused:
        return None, list(refused.problems)
    except LabNotReady as error:
        return None, [Problem("", str(error))]
    placement = predict(checked) if predicted else None
    return {
        "name": checked.document.name,
        "samples": len(checked.expansion.samples),
        "steps": checked.expansion.steps_total,
        "start_s": placement.start_lab_s if placement else None,
        "finish_s": placement.finish_lab_s if placement else None,
        "reason": placement.reason if placement else "",
        "warnings": warnings_of(checked.document.normalised()),
    }, []


def submit_text(
    user: User, document: str | dict[str, Any], project: Project | str, key: str, rerun_of: Job | None = None
) -> tuple[Job | None, list[Problem]]:
    """Submit a document; return the job, or what is wrong. The key makes a second click harmless."""
    try:
        job, _ = submit_job(
            user=user, document=document, project=project or None, idempotency_key=key, rerun_of=rerun_of
        )
    except JobRefused as refused:
        return None, list(refused.problems)
    except (LabNotReady, IdempotencyConflict, OverLimit) as error:
        return None, [Problem("", str(error))]
    return job, []
