"""The results of a job: what its runs measured, by sample and task, with units and where the arrays are.

Summaries come from the collection ``results``, one document per run, which the hosts write; and from ``analyses``,
which routines write (:mod:`analysis.processing`). Names of samples and tasks come from the relational store.
A NaN or infinity is ``"NaN"``, ``"Infinity"`` or ``"-Infinity"`` in everything that becomes JSON.
"""

from __future__ import annotations

import atexit
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from django.conf import settings

from scheduler.models import Job, Manifest, Sample, Task

from .documents import ANALYSES, RESULTS, Document, DocumentStore

SCHEMA_VERSION = 1


@cache
def _store(url: str) -> DocumentStore:
    store = DocumentStore(url)
    atexit.register(store.close)
    return store


def store() -> DocumentStore:
    """Return this process's document store."""
    return _store(settings.MONGO_URL)


Column = tuple[str, str, str]
"""Task (with the routine behind a dot), name of the value, unit."""


@dataclass(frozen=True)
class Run:
    """One run: a task on a sample, at one attempt; or an analysis of it."""

    uid: str
    sample: Sample | None
    task: Task | None
    document: Document
    counts: bool
    """Whether it counts among the runs of its task and sample: the last that went well does, else the last."""
    declared: tuple[str, ...] = ()
    """Names of the task's results, as the module's manifest lists them: no store keeps the order of names."""

    @property
    def values(self) -> dict[str, dict[str, Any]]:
        """Name → ``{"value", "unit"}``, for analyses with ``"uncertainty"``; in the declared order."""
        return self._in_order(self.document.get("values", {}))

    @property
    def arrays(self) -> dict[str, dict[str, Any]]:
        """Name → reference, see :data:`analysis.arrays.Reference`; in the declared order."""
        return self._in_order(self.document.get("arrays", {}))

    @property
    def group(self) -> str:
        """What its values belong to: the task, or what a routine has made of it."""
        return f"{self.task_key}.{self.document['routine']}" if "routine" in self.document else self.task_key

    def _in_order(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {name: found[name] for name in sorted(found, key=self.place_of)}

    def place_of(self, name: str) -> tuple[int, str]:
        """Return by what the name is ordered among its task's."""
        return (self.declared.index(name) if name in self.declared else len(self.declared), name)

    @property
    def task_key(self) -> str:
        """What the job calls the task."""
        return self.task.key if self.task else str(self.document.get("task", ""))

    @property
    def ended_at_unix_s(self) -> float:
        """When the run ended, wall time."""
        return float(self.document.get("time", 0.0))


@dataclass(frozen=True)
class JobResults:
    """All that a job measured."""

    job: Job
    samples: tuple[Sample, ...]
    runs: tuple[Run, ...]
    """In the order of the samples, then of the job's workflow, then of time."""
    analyses: tuple[Run, ...]

    def of(self, sample: Sample | None) -> Iterator[Run]:
        """Return the runs on a sample; None for those on no sample."""
        return (run for run in self.runs if (run.sample and run.sample.pk) == (sample and sample.pk))

    def columns(self) -> list[Column]:
        """Return the columns of a table of all values: in the order of the workflow, then as modules declare them."""
        found: dict[Column, tuple[Any, ...]] = {}
        for run in (*self.runs, *self.analyses):
            if run.counts:
                first = ("routine" in run.document, run.task.index if run.task else -1, run.group)
                for name, entry in run.values.items():
                    unit = str(entry.get("unit") or "")
                    found[run.group, name, unit] = (*first, *run.place_of(name), unit)
        return sorted(found, key=found.__getitem__)

    def find(self, uid: str) -> Run | None:
        """Return the run or analysis of that uid."""
        return next((run for run in (*self.runs, *self.analyses) if run.uid == uid), None)


def job_results(job: Job) -> JobResults:
    """Collect the results of a job.

    Raises
    ------
    StoreUnavailableError
        If the document store is away.
    """
    samples = tuple(job.samples.order_by("index"))
    tasks = {str(task.pk): task for task in job.tasks.all()}
    declared = _declared(job)
    by_id = {str(sample.pk): sample for sample in samples}

    def runs(collection: str, group: Sequence[str]) -> tuple[Run, ...]:
        documents = store().find(collection, {"job_id": str(job.pk)})
        documents.sort(key=lambda document: (document.get("time", 0.0), document["_id"]))
        counting = {
            tuple(str(document.get(key)) for key in group): document["_id"]
            for document in sorted(documents, key=lambda document: bool(document.get("ok")))
        }
        found = [
            Run(
                uid=document["_id"],
                sample=by_id.get(str(document.get("sample_id"))),
                task=tasks.get(str(document.get("task_id"))),
                document=document,
                counts=counting[tuple(str(document.get(key)) for key in group)] == document["_id"],
                declared=declared.get((str(document.get("module")), str(document.get("task"))), ()),
            )
            for document in documents
        ]
        found.sort(key=lambda run: (run.sample.index if run.sample else -1, run.task.index if run.task else -1))
        return tuple(found)

    return JobResults(
        job=job,
        samples=samples,
        runs=runs(RESULTS, ("task_id", "sample_id")),
        analyses=runs(ANALYSES, ("routine", "run_uid")),
    )


def _declared(job: Job) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return (module, task) → names of the results, from the manifests for which the job was accepted."""
    documents = dict(Manifest.objects.filter(pk__in=job.manifests.values()).values_list("hash", "document"))
    return {
        (module, task["name"]): tuple(result["name"] for result in task.get("results", ()))
        for module, hash_ in job.manifests.items()
        for task in documents.get(hash_, {}).get("tasks", ())
    }


def summary(results: JobResults, job_url: str) -> dict[str, Any]:
    """Return the results as JSON, with links below the job's address."""
    job = results.job
    return {
        "schema_version": SCHEMA_VERSION,
        "job_id": str(job.pk),
        "name": job.name,
        "state": job.state,
        "simulated": job.simulated,
        "columns": [{"task": task, "name": name, "unit": unit} for task, name, unit in results.columns()],
        "samples": [
            {
                "id": str(sample.pk),
                "index": sample.index,
                "name": sample.name,
                "state": sample.state,
                "reason": sample.reason,
                "parameters": plain(sample.parameters),
                "runs": [_run(run, job_url) for run in results.of(sample)],
            }
            for sample in results.samples
        ],
        "runs": [_run(run, job_url) for run in results.of(None)],
        "analyses": [_analysis(run, job_url) for run in results.analyses],
        "links": {"files": f"{job_url}/files", "table": f"{job_url}/results.csv"},
    }


def _run(run: Run, job_url: str) -> dict[str, Any]:
    return {
        "run_uid": run.uid,
        "task_id": run.document.get("task_id"),
        "task_key": run.task_key,
        "module": run.document.get("module", ""),
        "task": run.document.get("task", ""),
        "attempt_id": run.document.get("attempt_id", ""),
        "counts": run.counts,
        "ok": bool(run.document.get("ok")),
        "error": run.document.get("error", ""),
        "ended_lab_s": run.document.get("ended_lab_s"),
        "simulated": bool(run.document.get("simulated")),
        "values": plain(run.values),
        "arrays": _arrays(run, job_url),
    }


def _analysis(run: Run, job_url: str) -> dict[str, Any]:
    return {
        "id": run.uid,
        "routine": run.document["routine"],
        "run_uid": run.document["run_uid"],
        "sample_id": run.document.get("sample_id"),
        "task_key": run.task_key,
        "parameters": plain(run.document.get("parameters", {})),
        "counts": run.counts,
        "ok": bool(run.document.get("ok")),
        "error": run.document.get("error", ""),
        "simulated": bool(run.document.get("simulated")),
        "values": plain(run.values),
        "arrays": _arrays(run, job_url),
    }


def _arrays(run: Run, job_url: str) -> dict[str, Any]:
    return {
        name: {
            **{key: reference.get(key) for key in ("unit", "dtype", "shape", "axes", "sha256", "bytes")},
            "links": {
                "data": f"{job_url}/arrays/{run.uid}.{name}",
                "csv": f"{job_url}/arrays/{run.uid}.{name}?format=csv",
                "file": f"{job_url}/files/{file_name(reference['file'])}",
            },
            "path_in_file": reference.get("path"),
        }
        for name, reference in run.arrays.items()
    }


def find_array(results: JobResults, reference: str) -> tuple[Run, dict[str, Any]] | None:
    """Look up an array by ``<run uid>.<name>``; None if the job has none of that name."""
    uid, _, name = reference.rpartition(".")
    run = results.find(uid)
    if run is None or name not in run.arrays:
        return None
    return run, run.arrays[name]


def file_name(relative: str) -> str:
    """Return the name by which a job's file is asked for: a raw file's own, else with its routine."""
    parts = relative.split("/")
    return parts[-1] if parts[0] == "raw" else "-".join((*parts[1:2], parts[-1]))


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN and infinities become text."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case dict():
            return {key: plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case UUID():
            return str(value)
    return value
