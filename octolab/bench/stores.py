"""What really happened, read from the stores and not from what a server says."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from analysis.documents import DocumentStore

from .lab import BenchLab


def steps(data: Path, job_id: str) -> list[dict[str, Any]]:
    """Return the attended steps of a job that have started, by their start; `called` are those of clean-up."""
    wanted = "id, block, attempt, action, devices, needs, started_lab_s, ended_lab_s"
    called = (
        "id IN (SELECT step_id FROM scheduler_stepmember member"
        " JOIN scheduler_task task ON task.id = member.task_id WHERE task.cleanup)"
    )
    query = f"SELECT {wanted}, {called} FROM scheduler_step WHERE job_id = ? AND started_lab_s IS NOT NULL"  # noqa: S608
    with closing(sqlite3.connect(f"file:{data / 'octolab.sqlite3'}?mode=ro", uri=True)) as database:
        rows = database.execute(query, (job_id.replace("-", ""),)).fetchall()
    found = [dict(zip([*wanted.split(", "), "called"], row, strict=True)) for row in rows]
    for step in found:
        step["devices"], step["needs"] = json.loads(step["devices"]), json.loads(step["needs"])
        step["id"], step["block"] = step["id"].replace("-", ""), step["block"].replace("-", "")
        for need in step["needs"]:
            need["step"] = need["step"].replace("-", "")
    return sorted(found, key=lambda step: float(step["started_lab_s"]))


def documents(lab: BenchLab, collection: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the documents of a collection."""
    with closing(DocumentStore(lab.running["documents"])) as store:
        return [dict(document) for document in store.find(collection, query)]
