"""Running a routine on what was measured: each time a new file and a new document. Raw files are only read.

No Django.
"""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import routines
from .arrays import ArrayFile, Metadata, Run, processed_path, read_slice
from .documents import ANALYSES, Document, DocumentStore

_log = logging.getLogger(__name__)

SCHEMA_VERSION = 1


def analyse(
    store: DocumentStore,
    root: Path,
    run: Document,
    routine: routines.Routine,
    parameters: Mapping[str, Any],
    *,
    analysis_id: str,
    requested_by: str,
) -> Document:
    """Run a routine on one run and keep what it found.

    Doing it again with the same ``analysis_id`` finds the first one's document and changes nothing.

    Parameters
    ----------
    run
        The run's document from the collection ``results``.
    analysis_id
        Id of the document in ``analyses``, and name of the file.

    Returns
    -------
    dict
        The document; ``ok`` is False and ``error`` says why if the run cannot be analysed.

    Raises
    ------
    pydantic.ValidationError
        If the parameters are none of the routine's.
    """
    checked = routine.parameters.model_validate(parameters)
    if existing := store.find_ids(ANALYSES, [analysis_id]):
        return existing[0]
    document: Document = {
        "_id": analysis_id,
        "schema_version": SCHEMA_VERSION,
        "job_id": run["job_id"],
        "project_id": run.get("project_id", ""),
        "owner": run.get("owner", ""),
        "sample_id": run.get("sample_id"),
        "sample": run.get("sample", ""),
        "task_id": run.get("task_id"),
        "task": run.get("task", ""),
        "run_uid": run["_id"],
        "routine": routines.routine_id(routine),
        "parameters": checked.model_dump(mode="json"),
        "requested_by": requested_by,
        "simulated": run["simulated"],
        "values": {},
        "arrays": {},
        "ok": False,
        "error": "",
        "time": time.time(),
    }
    try:
        findings = _findings(root, run, routine, checked)
    except (ValueError, ArithmeticError, LookupError, OSError) as error:
        _log.warning("analysis %s of run %s: %s", document["routine"], run["_id"], error)
        document["error"] = str(error)
    else:
        document["values"] = {name: quantity.document() for name, quantity in findings.values.items()}
        document["arrays"] = _write(root, run, routine, document, findings)
        document["ok"] = True
    if not store.insert_many(ANALYSES, [document])[0]:
        return store.find_ids(ANALYSES, [analysis_id])[0]
    return document


def _findings(root: Path, run: Document, routine: routines.Routine, parameters: Any) -> routines.Findings:
    arrays = {}
    for name in routine.needs:
        if name not in run["arrays"]:
            raise ValueError(f"the run has no array {name!r}")
        reference = run["arrays"][name]
        arrays[name] = read_slice(root / reference["file"], reference["path"])
    return routine.run(arrays, parameters)


def _write(
    root: Path, run: Document, routine: routines.Routine, document: Document, findings: routines.Findings
) -> dict[str, Any]:
    source = run["arrays"][routine.needs[0]] if routine.needs else {}
    metadata = Metadata(
        job_id=run["job_id"],
        attempt_id=run.get("attempt_id", ""),
        module=run.get("module", ""),
        task=run.get("task", ""),
        owner=run.get("owner", ""),
        project=run.get("project_id", ""),
        simulated=run["simulated"],
        started_at=datetime.now(UTC),
        runs=(Run(run["_id"], run.get("task_id") or "", run.get("sample_id"), run.get("sample", "")),),
        process={
            "program": f"octolab {routine.name}",
            "version": routine.version,
            "parameters": json.dumps(document["parameters"], sort_keys=True),
            "source_run": run["_id"],
            "source_file": source.get("file", ""),
            "source_sha256": source.get("sha256", ""),
        },
    )
    for number in itertools.count(1):
        # A crash may have left the file without its document; it is not touched.
        name = document["_id"] if number == 1 else f"{document['_id']}-{number}"
        try:
            file = ArrayFile(root, processed_path(document["routine"], run["job_id"], name), metadata)
        except FileExistsError:
            continue
        with file:
            for array, new in findings.arrays.items():
                file.add(array, new.values, new.unit, new.axes)
            return file.close().get(run["_id"], {})
    raise AssertionError
