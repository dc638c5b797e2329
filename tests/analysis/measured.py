"""A job that has measured something, as hosts and scheduler leave it."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from django.utils import timezone

from analysis.arrays import ArrayFile, Metadata, Run, raw_path
from analysis.documents import DocumentStore
from scheduler.models import Job, Sample, Task
from users.models import User

WAVELENGTHS_NM = np.linspace(300, 849, 550)


def spectrum(peak_nm: float = 412.0, height: float = 0.8, width_nm: float = 90.0) -> np.ndarray[Any, Any]:
    """Return a Gaussian band on the wavelengths; ``width_nm`` is its FWHM."""
    return height * np.exp(-4 * math.log(2) * ((WAVELENGTHS_NM - peak_nm) / width_nm) ** 2)


def make_job(owner: User, *, simulated: bool = True, samples: int = 2, name: str = "Silver") -> Job:
    """Return a job with samples and a measuring task, without results."""
    job = Job.objects.create(
        project=owner.personal_project,
        owner=owner,
        name=name,
        spec={},
        simulated=simulated,
        submitted_at=timezone.now(),
        submitted_lab_s=0.0,
    )
    task = Task.objects.create(job=job, key="spectrum", index=1, module="uv_vis", task="measure")
    for index in range(samples):
        sample = Sample.objects.create(
            job=job, index=index, name=f"A{index + 1}", parameters={"AgNO3": f"{100 * (index + 1)} uL"}
        )
        task.samples.add(sample)
    return job


def measure(
    store: DocumentStore,
    root: Path,
    sample: Sample,
    *,
    attempt: int = 1,
    values: dict[str, Any] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """Write the file and the summary of a run on a sample, as a host does; return the summary."""
    job = sample.job
    task = job.tasks.get()
    uid = str(uuid4())
    attempt_id = f"{uuid4()}/{attempt}"
    now = datetime.now(UTC)
    metadata = Metadata(
        job_id=str(job.pk),
        job_name=job.name,
        attempt_id=attempt_id,
        module="uv_vis",
        task="measure",
        owner=job.owner.username,
        project=job.project.slug,
        simulated=job.simulated,
        started_at=now,
        runs=(Run(uid, str(task.pk), str(sample.pk), sample.name),),
    )
    with ArrayFile(root, raw_path(str(job.pk), attempt_id, now), metadata) as file:
        data = changes.pop("data", spectrum(400 + 10 * sample.index))
        file.add("absorbance", data, "", {"wavelength": (WAVELENGTHS_NM, "nm")} if data.ndim == 1 else None)
        references = file.close()
    document = {
        "_id": uid,
        "uid": uid,
        "schema_version": 1,
        "job_id": str(job.pk),
        "project_id": str(job.project_id),
        "owner": job.owner.username,
        "sample_id": str(sample.pk),
        "sample": sample.name,
        "task_id": str(task.pk),
        "task": "measure",
        "module": "uv_vis",
        "attempt_id": attempt_id,
        "attempt": attempt,
        "ok": True,
        "error": "",
        "values": {"peak": {"value": 400.0 + 10 * sample.index, "unit": "nm"}} if values is None else values,
        "arrays": references[uid],
        "simulated": job.simulated,
        "ended_lab_s": 60.0 * attempt,
        "time": now.timestamp() + attempt,
        **changes,
    }
    assert store.insert_many("results", [document]) == [True]
    return document
