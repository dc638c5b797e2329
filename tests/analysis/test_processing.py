"""Routines on measured jobs: new files and documents, raw data untouched."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nexusformat.nexus import nxload
from pydantic import ValidationError
from rest_framework.test import APIClient

from analysis import routines
from analysis.documents import DocumentStore
from analysis.processing import analyse
from analysis.tasks import run_routine
from scheduler.models import Job
from tests.analysis.measured import WAVELENGTHS_NM, make_job, measure, spectrum
from users.models import User


@pytest.fixture
def job(ann: User, store: DocumentStore, root: Path) -> Job:
    job = make_job(ann)
    for sample in job.samples.order_by("index"):
        measure(store, root, sample)
    return job


def fingerprints(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.nxs")}


def test_nothing_is_run_for_somebody_who_has_left(ann: User, job: Job, root: Path) -> None:
    before = fingerprints(root)
    assert run_routine(str(job.pk), "spectrum", {}, "request-1", "nobody") == 0
    User.objects.filter(pk=ann.pk).update(is_active=False)
    assert run_routine(str(job.pk), "spectrum", {}, "request-1", "ann") == 0
    assert fingerprints(root) == before


def test_a_routine_finds_values_writes_a_new_file_and_leaves_the_raw_ones(
    ann: User, job: Job, store: DocumentStore, root: Path, client_of: Callable[..., APIClient]
) -> None:
    before = fingerprints(root)
    assert run_routine(str(job.pk), "spectrum", {}, "request-1", "ann") == 2
    after = fingerprints(root)
    assert {path: after[path] for path in before} == before
    new = sorted(set(after) - set(before))
    assert [path.rsplit("/", 1)[0] for path in new] == [f"processed/spectrum@1/{job.pk}"] * 2

    client = client_of(ann)
    found = client.get(f"/api/v1/jobs/{job.pk}/results").json()
    first, second = found["analyses"]
    assert (first["routine"], first["ok"], first["simulated"], first["counts"]) == ("spectrum@1", True, True, True)
    assert second["values"]["lambda_max"]["value"] == pytest.approx(410, abs=0.1)
    assert second["values"]["lambda_max"]["unit"] == "nm"
    assert second["values"]["lambda_max"]["uncertainty"] < 0.1
    assert second["values"]["fwhm"]["value"] == pytest.approx(90, abs=0.5)

    links = first["arrays"]["absorbance_smoothed"]["links"]
    smoothed = client.get(links["data"]).json()
    assert smoothed["axes"]["wavelength"]["values"] == WAVELENGTHS_NM.tolist()
    np.testing.assert_allclose(smoothed["values"], spectrum(400), atol=0.01)
    file = client.get(links["file"])
    assert file.status_code == 200
    file.close()
    assert "spectrum.spectrum@1.lambda_max (nm)" in client.get(f"/api/v1/jobs/{job.pk}/results.csv").content.decode()

    process = nxload(root / new[0])["entry/process"]
    assert process.nxclass == "NXprocess"
    assert str(process["source_file"]) in before
    assert '"boxcar_points": 10' in str(process["parameters"])


def test_a_second_delivery_changes_nothing_and_a_second_request_adds(
    job: Job, store: DocumentStore, root: Path
) -> None:
    for _ in range(2):
        run_routine(str(job.pk), "spectrum@1", {}, "request-1", "ann")
    assert len(store.find("analyses")) == 2
    first = fingerprints(root)
    run_routine(str(job.pk), "spectrum@1", {"boxcar_points": 3}, "request-2", "ann")
    assert len(store.find("analyses")) == 4
    assert {path: digest for path, digest in fingerprints(root).items() if path in first} == first


def test_a_file_that_a_crash_left_is_not_touched(job: Job, store: DocumentStore, root: Path) -> None:
    run = store.find("results")[0]
    left = root / f"processed/spectrum@1/{job.pk}/a.nxs"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    routine = routines.get("spectrum")
    document = analyse(store, root, run, routine, {}, analysis_id="a", requested_by="ann")
    assert left.read_bytes() == b"left"
    assert document["arrays"]["absorbance_smoothed"]["file"].endswith("/a-2.nxs")


@pytest.mark.parametrize(
    ("data", "error"),
    [(np.full(550, math.nan), "0 of 550 points"), (np.zeros((2, 3)), "axis in nm")],
)
def test_a_run_that_cannot_be_analysed_says_why(
    ann: User, store: DocumentStore, root: Path, data: Any, error: str
) -> None:
    job = make_job(ann, samples=1)
    run = measure(store, root, job.samples.get(), data=data)
    document = analyse(store, root, run, routines.get("spectrum"), {}, analysis_id="a", requested_by="ann")
    assert not document["ok"]
    assert error in document["error"]
    assert not (root / "processed").exists()
    assert store.find("analyses") == [document]


def test_a_spectrum_without_a_peak_is_a_result(ann: User, store: DocumentStore, root: Path) -> None:
    job = make_job(ann, samples=1)
    run = measure(store, root, job.samples.get(), data=np.zeros(550))
    document = analyse(store, root, run, routines.get("spectrum"), {}, analysis_id="a", requested_by="ann")
    [stored] = store.find("analyses")
    assert (document["ok"], stored["values"]["peaks"]["value"]) == (True, 0)
    assert math.isnan(stored["values"]["lambda_max"]["value"])


@pytest.mark.parametrize("parameters", [{"boxcar_points": 0}, {"prominence": -1}, {"script": "import os"}])
def test_bad_parameters_leave_nothing(job: Job, store: DocumentStore, root: Path, parameters: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        run_routine(str(job.pk), "spectrum", parameters, "r", "ann")
    assert store.find("analyses") == []
    assert not (root / "processed").exists()


def test_only_registered_routines_run(job: Job) -> None:
    for name in ("os.system", "spectrum@99", "../spectrum"):
        with pytest.raises(KeyError):
            run_routine(str(job.pk), name, {}, "r", "ann")
    assert [routines.routine_id(routine) for routine in routines.known()] == ["spectrum@1"]
    with pytest.raises(ValueError, match="twice"):
        routines.register(routines.get("spectrum"))
