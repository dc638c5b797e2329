"""What is left behind by a run: rows, documents, the bench's own log, files, and what people were told.

Read from the stores and logs alone, without any code that decides about work, and kept as plain values, so that the
invariants can be checked again later and tested with doctored evidence.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from analysis.documents import DocumentStore
from modules.contract import lab as lab_file

Row = dict[str, Any]

_TABLES = {
    "jobs": "SELECT id, name, state FROM scheduler_job",
    "samples": "SELECT id, job_id, state FROM scheduler_sample",
    "steps": "SELECT id, job_id, block, name, module, action, state, attempt, devices, takes, frees, adds"
    " FROM scheduler_step",
    "members": "SELECT step_id, task_id, sample_id FROM scheduler_stepmember",
    "events": "SELECT seq, lab_s, kind, subject, job_id, state_from, state_to, data FROM scheduler_event ORDER BY seq",
    "requests": "SELECT id, verb, payload, applied_at, refused FROM scheduler_request",
    "notifications": "SELECT id, event, job_id, delivered_at, gave_up_at FROM notifications_notification",
    "manifests": "SELECT m.id, f.document FROM scheduler_module m JOIN scheduler_manifest f ON f.hash = m.manifest_id",
}
_UNCLAIMED: Row = {"host": "", "claimed_lab_s": None, "ended_lab_s": None, "touched": False, "outcomes": []}
"""What a withdrawn attempt does not say."""
_JSON = {"adds", "devices", "takes", "frees", "data", "payload", "document"}
_UUIDS = {"id", "job_id", "block", "step_id", "task_id", "sample_id", "subject"}


@dataclass
class Evidence:
    """Everything that the invariants are checked against. Ids are text with dashes; times are lab seconds."""

    accepted: list[Row] = field(default_factory=list)
    """What the server answered to each submit: ``id``, ``name``, ``samples`` and ``steps`` (their ids)."""
    jobs: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    members: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    notifications: list[Row] = field(default_factory=list)
    attempts: list[Row] = field(default_factory=list)
    run_starts: list[Row] = field(default_factory=list)
    run_stops: list[Row] = field(default_factory=list)
    results: list[Row] = field(default_factory=list)
    bench: list[Row] = field(default_factory=list)
    """The simulation's log, each line with ``lab_s`` on the lab's clock."""
    files: dict[str, Row] = field(default_factory=dict)
    """Path below the data root → ``bytes`` and ``sha256``, of everything below ``raw``."""
    delivered: list[Row] = field(default_factory=list)
    """What the channel received: ``job_id`` and ``event``."""
    repeat_safe: list[str] = field(default_factory=list)
    """``<module>.<action>`` that may be done twice."""
    resources: dict[str, str] = field(default_factory=dict)
    """``<module>.<local name>`` → id of the resource in the lab."""
    scale: float = 1.0

    def save(self, path: Path) -> None:
        """Write everything to a file."""
        path.write_text(json.dumps(asdict(self), default=str))

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what :meth:`save` wrote."""
        return cls(**json.loads(path.read_text()))


def gather(
    data: Path, documents_url: str, lab: Path, anchors: list[Row], accepted: list[Row], delivered: list[Row]
) -> Evidence:
    """Read everything that a quiet lab has written; ``anchors`` of lab time, one for each start of the stack."""
    rows = _rows(data / "octolab.sqlite3")
    documents = _documents(documents_url)
    documents["attempts"] = [{**_UNCLAIMED, **attempt} for attempt in documents["attempts"]]
    manifests = {row["id"]: row["document"] for row in rows.pop("manifests")}
    return Evidence(
        accepted=list(accepted),
        delivered=list(delivered),
        bench=_bench(data / "simulation" / "commands.jsonl", anchors),
        files=_files(data),
        repeat_safe=[
            f"{module}.{action['name']}"
            for module, manifest in manifests.items()
            for action in manifest["actions"]
            if action["repeat_safe"]
        ],
        resources=_resources(lab),
        scale=float(anchors[0]["scale"]),
        **rows,
        **documents,
    )


def _rows(path: Path) -> dict[str, list[Row]]:
    connection = sqlite3.connect(path, timeout=60)
    connection.row_factory = sqlite3.Row
    try:
        return {name: [_plain(row) for row in connection.execute(query)] for name, query in _TABLES.items()}
    finally:
        connection.close()


def _plain(row: sqlite3.Row) -> Row:
    return {key: _value(key, row[key]) for key in row.keys()}  # noqa: SIM118 - a Row is no mapping


def _value(key: str, value: Any) -> Any:
    if key in _JSON and isinstance(value, str):
        return json.loads(value)
    if key in _UUIDS and isinstance(value, str) and len(value) == 32:
        return "-".join((value[:8], value[8:12], value[12:16], value[16:20], value[20:]))
    return value


def _documents(url: str) -> dict[str, list[Row]]:
    store = DocumentStore(url)
    try:
        names = ("attempts", "run_starts", "run_stops", "results")
        return {name: store.find(name) for name in names}
    finally:
        store.close()


def _bench(path: Path, anchors: list[Row]) -> list[Row]:
    lines = []
    for text in path.read_text().splitlines():
        line = json.loads(text)
        # The simulation stands still while it is down, the lab does not; the machine's clock is common to both.
        anchor = max((a for a in anchors if a["monotonic_s"] <= line["monotonic"]), key=lambda a: a["monotonic_s"])
        line["lab_s"] = anchor["lab_s"] + (line["monotonic"] - anchor["monotonic_s"]) * anchor["scale"]
        lines.append(line)
    return lines


def _files(data: Path) -> dict[str, Row]:
    found = {}
    for path in sorted((data / "raw").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            found[str(path.relative_to(data))] = {
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }
    return found


def _resources(path: Path) -> dict[str, str]:
    lab = lab_file.load(path)
    return {
        f"{instance}.{local}": target
        for instance, module in lab.modules.items()
        for local, target in module.resources.items()
    }
