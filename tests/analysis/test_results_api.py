"""Results, files and arrays of a job over REST."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import h5py
import numpy as np
import pytest
from django.test import override_settings
from nexusformat.nexus import nxload
from rest_framework.test import APIClient

from analysis.documents import DocumentStore
from analysis.downloads import UnsatisfiableRangeError, requested_range
from scheduler.models import Job, Manifest
from tests.analysis.measured import WAVELENGTHS_NM, make_job, measure, spectrum
from tests.services import free_port
from users.models import Membership, User

ClientOf = Callable[..., APIClient]
FORBIDDEN_CONSTANT = "a constant that JSON does not have"


def strict_json(response: Any) -> Any:
    """Parse a body that must be JSON as the standard has it."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{FORBIDDEN_CONSTANT}: {text}")

    assert response.status_code == 200, response.content
    return json.loads(response.content, parse_constant=refuse)


def body_of(response: Any) -> bytes:
    try:
        return b"".join(response.streaming_content) if response.streaming else response.content
    finally:
        response.close()


def status_of(response: Any) -> int:
    response.close()
    return int(response.status_code)


@pytest.fixture
def job(ann: User) -> Job:
    return make_job(ann)


@pytest.fixture
def measured(job: Job, store: DocumentStore, root: Path) -> list[dict[str, Any]]:
    return [measure(store, root, sample) for sample in job.samples.order_by("index")]


def test_results_have_values_units_and_links_that_work(
    ann: User, job: Job, measured: list[dict[str, Any]], client_of: ClientOf
) -> None:
    client = client_of(ann)
    response = client.get(f"/api/v1/jobs/{job.pk}/results")
    found = strict_json(response)
    assert (found["job_id"], found["simulated"], response.headers["Octolab-Simulated"]) == (str(job.pk), True, "true")
    first, second = found["samples"]
    assert (first["name"], first["parameters"]) == ("A1", {"AgNO3": "100 uL"})
    [run] = second["runs"]
    assert run["values"] == {"peak": {"value": 410.0, "unit": "nm"}}
    assert (run["task_key"], run["ok"], run["counts"], run["simulated"]) == ("spectrum", True, True, True)
    array = run["arrays"]["absorbance"]
    assert (array["unit"], array["shape"], array["axes"]) == ("", [550], {"wavelength": "nm"})
    assert strict_json(client.get(array["links"]["data"]))["values"] == spectrum(410).tolist()
    assert client.get(array["links"]["csv"]).status_code == 200
    assert hashlib.sha256(body_of(client.get(array["links"]["file"]))).hexdigest() == array["sha256"]
    assert strict_json(client.get(found["links"]["files"]))["simulated"] is True
    assert client.get(found["links"]["table"]).status_code == 200


def test_values_stand_in_the_order_that_the_module_declares(
    ann: User, job: Job, store: DocumentStore, root: Path, client_of: ClientOf
) -> None:
    declared = ("peak_nm", "fwhm_nm", "height")
    document = {"tasks": [{"name": "measure", "results": [{"name": name} for name in declared]}]}
    Manifest.objects.create(hash="sha256:1", document=document)
    Job.objects.filter(pk=job.pk).update(manifests={"uv_vis": "sha256:1"})
    first, second = job.samples.order_by("index")
    measure(store, root, first, values={"height": {"value": 1.0}, "peak_nm": {"value": 400.0, "unit": "nm"}})
    measure(store, root, second, values={name: {"value": 1.0} for name in ("extra", *sorted(declared))})
    client = client_of(ann)
    found = strict_json(client.get(f"/api/v1/jobs/{job.pk}/results"))
    assert [list(sample["runs"][0]["values"]) for sample in found["samples"]] == [
        ["peak_nm", "height"],
        [*declared, "extra"],
    ]
    assert [column["name"] for column in found["columns"]] == ["peak_nm", "peak_nm", "fwhm_nm", "height", "extra"]
    heading = client.get(found["links"]["table"]).content.decode().splitlines()[0]
    assert heading.endswith(
        "spectrum.peak_nm,spectrum.peak_nm (nm),spectrum.fwhm_nm,spectrum.height,spectrum.extra,error"
    )


def test_a_real_run_is_not_marked(ann: User, store: DocumentStore, root: Path, client_of: ClientOf) -> None:
    job = make_job(ann, simulated=False, samples=1)
    measure(store, root, job.samples.get())
    client = client_of(ann)
    for path in ("results", "files", "results.csv", "files/job.nxs"):
        response = client.get(f"/api/v1/jobs/{job.pk}/{path}")
        assert response.headers["Octolab-Simulated"] == "false"
        assert "simulated" not in response.headers.get("Content-Disposition", "")
        response.close()


def test_a_job_without_results_has_none(ann: User, job: Job, store: DocumentStore, client_of: ClientOf) -> None:
    client = client_of(ann)
    assert [s["runs"] for s in strict_json(client.get(f"/api/v1/jobs/{job.pk}/results"))["samples"]] == [[], []]
    assert strict_json(client.get(f"/api/v1/jobs/{job.pk}/files"))["files"] == []
    assert client.get(f"/api/v1/jobs/{job.pk}/files/job.nxs").status_code == 404
    assert client.get(f"/api/v1/jobs/{job.pk}/results.csv").status_code == 200


def test_the_last_good_run_counts(ann: User, store: DocumentStore, root: Path, client_of: ClientOf) -> None:
    job = make_job(ann, samples=1)
    sample = job.samples.get()
    runs = [
        measure(store, root, sample, attempt=1, ok=False, error="lamp off", values={}),
        measure(store, root, sample, attempt=2, values={"peak": {"value": 1.0, "unit": "nm"}}),
        measure(store, root, sample, attempt=3, values={"peak": {"value": 2.0, "unit": "nm"}}),
        measure(store, root, sample, attempt=4, ok=False, error="lamp off", values={}),
    ]
    client = client_of(ann)
    [found] = strict_json(client.get(f"/api/v1/jobs/{job.pk}/results"))["samples"]
    assert [(run["run_uid"], run["counts"]) for run in found["runs"]] == [
        (run["uid"], index == 2) for index, run in enumerate(runs)
    ]
    [row] = csv.DictReader(io.StringIO(client.get(f"/api/v1/jobs/{job.pk}/results.csv").content.decode()))
    assert row["spectrum.peak (nm)"] == "2.0"


@pytest.mark.parametrize("path", ["results", "results.csv", "files", "files/job.nxs", "files/{file}", "arrays/{array}"])
def test_who_may_not_see_a_job_finds_nothing(
    ann: User, bob: User, job: Job, measured: list[dict[str, Any]], client_of: ClientOf, path: str
) -> None:
    reference = measured[0]["arrays"]["absorbance"]
    path = path.format(file=Path(reference["file"]).name, array=f"{measured[0]['uid']}.absorbance")
    url = f"/api/v1/jobs/{job.pk}/{path}"
    assert status_of(client_of(ann).get(url)) == 200
    outsider = client_of(bob).get(url)
    assert outsider.status_code == 404
    assert outsider.headers["Content-Type"] == "application/problem+json"
    assert outsider.json()["detail"] == client_of(bob).get(url.replace(str(job.pk), str(uuid4()))).json()["detail"]
    assert APIClient().get(url).status_code == 401
    assert client_of(ann, "jobs:read").get(url).status_code == 403
    assert client_of(ann).post(url).status_code == 405
    Membership.objects.create(user=bob, project=job.project, role="viewer")
    assert status_of(client_of(bob).get(url)) == 200


def test_files_are_those_of_the_job_alone(
    ann: User, job: Job, measured: list[dict[str, Any]], store: DocumentStore, root: Path, client_of: ClientOf
) -> None:
    other = make_job(ann, samples=1)
    foreign = measure(store, root, other.samples.get())["arrays"]["absorbance"]
    client = client_of(ann)
    listed = strict_json(client.get(f"/api/v1/jobs/{job.pk}/files"))["files"]
    assert {(f["sha256"], f["bytes"], f["kind"]) for f in listed} == {
        (m["arrays"]["absorbance"]["sha256"], m["arrays"]["absorbance"]["bytes"], "raw") for m in measured
    }
    own = measured[0]["arrays"]["absorbance"]["file"]
    for name in (
        Path(foreign["file"]).name,
        own,
        f"..%2F{job.pk}%2F{Path(own).name}",
        "..",
        "%2e%2e%2f%2e%2e%2foctolab.sqlite3",
        "%00",
        Path(own).name + ".part",
    ):
        assert client.get(f"/api/v1/jobs/{job.pk}/files/{name}").status_code == 404


def test_a_reference_out_of_the_data_root_is_not_followed(
    ann: User, job: Job, store: DocumentStore, root: Path, client_of: ClientOf
) -> None:
    (root.parent / "secret.nxs").write_bytes(b"secret")
    reference = {
        "file": "../secret.nxs",
        "path": "/entry/a/a",
        "bytes": 6,
        "sha256": "00" * 32,
        "shape": [1],
        "dtype": "f",
    }
    document = {"_id": "r", "job_id": str(job.pk), "arrays": {"a": reference}, "values": {}, "ok": True}
    store.insert_many("results", [document])
    client = client_of(ann)
    [listed] = strict_json(client.get(f"/api/v1/jobs/{job.pk}/files"))["files"]
    for url in (listed["href"], f"/api/v1/jobs/{job.pk}/files/job.nxs", f"/api/v1/jobs/{job.pk}/arrays/r.a"):
        assert client.get(url).status_code == 503


def test_a_file_comes_whole_or_in_ranges_with_a_checksum(
    ann: User, job: Job, measured: list[dict[str, Any]], root: Path, client_of: ClientOf
) -> None:
    client = client_of(ann)
    reference = measured[0]["arrays"]["absorbance"]
    content = (root / reference["file"]).read_bytes()
    url = f"/api/v1/jobs/{job.pk}/files/{Path(reference['file']).name}"
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"

    whole = client.get(url, headers={"Accept": "application/x-hdf5"})
    assert (whole.status_code, body_of(whole)) == (200, content)
    assert (whole.headers["Repr-Digest"], whole.headers["ETag"]) == (digest, f'"{reference["sha256"]}"')
    assert whole.headers["Content-Length"] == str(len(content))
    assert "simulated" in whole.headers["Content-Disposition"]
    head = client.head(url)
    assert (head.headers["Content-Length"], body_of(head)) == (str(len(content)), b"")

    for asked, first, last in (("bytes=0-99", 0, 99), ("bytes=100-", 100, None), ("bytes=-10", -10, None)):
        part = client.get(url, headers={"Range": asked})
        expected = content[first : last + 1 if last else None]
        assert (part.status_code, body_of(part)) == (206, expected)
        start = first % len(content)
        assert part.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{len(content)}"
        assert (part.headers["Repr-Digest"], part.headers["Content-Length"]) == (digest, str(len(expected)))

    outside = client.get(url, headers={"Range": f"bytes={len(content)}-"})
    assert (outside.status_code, outside.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert client.get(url, headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304
    assert status_of(client.get(url, headers={"Range": "bytes=0-9", "If-Range": '"old"'})) == 200


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=0-0", (0, 0)),
        ("bytes=5-", (5, 9)),
        ("bytes=5-1000", (5, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-1000", (0, 9)),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=٣-", None),
    ],
)
def test_ranges(header: str, expected: tuple[int, int] | None) -> None:
    assert requested_range(header, 10) == expected


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=99-100"])
def test_ranges_outside(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        requested_range(header, 10)


def test_the_files_of_a_job_are_assembled_once(
    ann: User,
    job: Job,
    measured: list[dict[str, Any]],
    store: DocumentStore,
    root: Path,
    client_of: ClientOf,
    tmp_path: Path,
) -> None:
    client = client_of(ann)
    url = f"/api/v1/jobs/{job.pk}/files/job.nxs"
    first = client.get(url)
    path = tmp_path / "downloaded.nxs"
    path.write_bytes(body_of(first))
    tree = nxload(path)
    assert tree.get_default().nxpath == "/A1_spectrum/absorbance"
    np.testing.assert_array_equal(tree["A2_spectrum/absorbance"].nxsignal.nxdata, spectrum(410))
    assert tree.attrs["simulated"]
    again = client.get(url)
    assert (again.headers["ETag"], body_of(again)) == (first.headers["ETag"], path.read_bytes())
    assert len(list((root / "processed").rglob("*.nxs"))) == 1
    measure(store, root, job.samples.get(index=0), attempt=2)
    assert hashlib.sha256(body_of(client.get(url))).hexdigest() not in first.headers["ETag"]


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"short")])
def test_a_damaged_file_is_told_and_not_sent(
    ann: User, job: Job, measured: list[dict[str, Any]], root: Path, client_of: ClientOf, damage: Callable[[Path], None]
) -> None:
    path = root / measured[0]["arrays"]["absorbance"]["file"]
    damage(path)
    client = client_of(ann)
    for name in (f"files/{path.name}", "files/job.nxs", f"arrays/{measured[0]['uid']}.absorbance"):
        response = client.get(f"/api/v1/jobs/{job.pk}/{name}")
        assert (response.status_code, response.json()["type"]) == (503, "urn:octolab:problem:file-damaged")


def test_slices_of_an_array(ann: User, job: Job, measured: list[dict[str, Any]], client_of: ClientOf) -> None:
    client = client_of(ann)
    url = f"/api/v1/jobs/{job.pk}/arrays/{measured[0]['uid']}.absorbance"
    part = strict_json(client.get(url, {"start": 100, "stop": 200, "step": 10}))
    assert part["values"] == spectrum(400)[100:200:10].tolist()
    assert part["axes"] == {"wavelength": {"unit": "nm", "values": WAVELENGTHS_NM[100:200:10].tolist()}}
    assert (part["start"], part["stop"], part["step"], part["shape"]) == (100, 200, 10, [550])
    assert (part["simulated"], part["unit"], part["dtype"]) == (True, "", "float64")
    assert strict_json(client.get(url, {"start": -2}))["values"] == spectrum(400)[-2:].tolist()
    assert strict_json(client.get(url, {"start": 600}))["values"] == []
    rows = list(csv.reader(io.StringIO(client.get(f"{url}?format=csv&stop=2").content.decode())))
    assert rows == [
        ["wavelength (nm)", "absorbance"],
        *([repr(float(x)), repr(float(y))] for x, y in zip(WAVELENGTHS_NM[:2], spectrum(400)[:2], strict=True)),
    ]
    bad: dict[str, Any]
    for bad in ({"step": 0}, {"start": "x"}, {"format": "xml"}, {"stopp": 1}):
        assert client.get(url, bad).status_code == 422
    assert client.get(url.replace("absorbance", "other")).status_code == 404


def test_an_array_that_is_too_large_is_refused_with_advice(
    ann: User, job: Job, store: DocumentStore, root: Path, client_of: ClientOf
) -> None:
    uid = measure(store, root, job.samples.get(index=0), data=np.zeros((1001, 1000), dtype="int8"))["uid"]
    client = client_of(ann)
    url = f"/api/v1/jobs/{job.pk}/arrays/{uid}.absorbance"
    refused = client.get(url)
    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "/stop")
    assert strict_json(client.get(url, {"stop": 1}))["values"] == [[0] * 1000]
    header, row = csv.reader(io.StringIO(client.get(f"{url}?format=csv&stop=1").content.decode()))
    assert (header[:2], row[:2], len(row)) == (["index", "absorbance at index 0"], ["0", "0"], 1001)


def test_nan_and_infinity_reach_the_user(
    ann: User, job: Job, store: DocumentStore, root: Path, client_of: ClientOf
) -> None:
    data = np.array([math.nan, math.inf, -math.inf, 1.5] + [0.0] * 546)
    values = {"peak": {"value": math.nan, "unit": "nm"}, "gap": {"value": -math.inf, "unit": "eV"}}
    uid = measure(store, root, job.samples.get(index=0), data=data, values=values)["uid"]
    client = client_of(ann)
    [run] = strict_json(client.get(f"/api/v1/jobs/{job.pk}/results"))["samples"][0]["runs"]
    assert run["values"] == {"peak": {"value": "NaN", "unit": "nm"}, "gap": {"value": "-Infinity", "unit": "eV"}}
    part = strict_json(client.get(f"/api/v1/jobs/{job.pk}/arrays/{uid}.absorbance", {"stop": 4}))
    assert part["values"] == ["NaN", "Infinity", "-Infinity", 1.5]
    row = next(csv.DictReader(io.StringIO(client.get(f"/api/v1/jobs/{job.pk}/results.csv").content.decode())))
    assert (row["spectrum.peak (nm)"], row["spectrum.gap (eV)"]) == ("nan", "-inf")


def test_the_table_has_a_row_per_sample_and_a_unit_per_column(
    ann: User, job: Job, measured: list[dict[str, Any]], client_of: ClientOf
) -> None:
    job.samples.filter(index=0).update(name='=HYPERLINK("http://evil")')
    response = client_of(ann).get(f"/api/v1/jobs/{job.pk}/results.csv")
    assert "simulated" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(response.content.decode())))
    assert [row["spectrum.peak (nm)"] for row in rows] == ["400.0", "410.0"]
    assert [row["AgNO3"] for row in rows] == ["100 uL", "200 uL"]
    assert [row["simulated"] for row in rows] == ["True", "True"]
    assert rows[0]["sample"].startswith("'="), "a spreadsheet must not run it"


def test_a_store_that_is_away_is_a_503(
    ann: User, job: Job, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("analysis.documents.SELECTION_TIMEOUT_MS", 100)
    with override_settings(MONGO_URL=f"mongodb://127.0.0.1:{free_port()}/away"):
        response = client_of(ann).get(f"/api/v1/jobs/{job.pk}/results")
    assert (response.status_code, response.json()["type"]) == (503, "urn:octolab:problem:documents-away")


def test_the_file_names_what_it_is(ann: User, job: Job, measured: list[dict[str, Any]], root: Path) -> None:
    with h5py.File(root / measured[0]["arrays"]["absorbance"]["file"]) as file:
        assert file["entry/octolab/job_id"].asstr()[()] == str(job.pk)
