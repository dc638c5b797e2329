"""Array files, read back by h5py and by nexusformat."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nexusformat.nexus import nxload

from analysis.arrays import ArrayFile, Metadata, Run, assemble, processed_path, raw_path, read_slice

AT = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
WAVELENGTHS = np.linspace(300, 849, 550)
SPECTRUM = np.exp(-(((WAVELENGTHS - 412) / 30) ** 2))


def metadata(*runs: Run, **changes: Any) -> Metadata:
    values: dict[str, Any] = {
        "job_id": "019f-job",
        "job_name": "Silver",
        "attempt_id": "019f-step/1",
        "module": "uv_vis",
        "task": "measure",
        "owner": "ann",
        "project": "ann",
        "simulated": True,
        "started_at": AT,
        "runs": runs or (Run("run-1", "task-1", "sample-1", "A1"),),
    }
    return Metadata(**values | changes)


def write_spectrum(root: Path, attempt: str = "019f-step/1", **changes: Any) -> dict[str, Any]:
    with ArrayFile(root, raw_path("019f-job", attempt, AT), metadata(attempt_id=attempt, **changes)) as file:
        file.add("absorbance", SPECTRUM, "", axes={"wavelength": (WAVELENGTHS, "nm")})
        file.add("temperature", 25.5, "degC")
        references = file.close()
    return references["run-1"]


def test_a_file_plots_itself_in_nexusformat(tmp_path: Path) -> None:
    reference = write_spectrum(tmp_path)["absorbance"]
    root = nxload(tmp_path / reference["file"])
    plotted = root.get_default()
    assert plotted.nxpath == "/entry/absorbance"
    np.testing.assert_array_equal(plotted.nxsignal.nxdata, SPECTRUM)
    [axis] = plotted.nxaxes
    assert (axis.nxname, axis.attrs["units"]) == ("wavelength", "nm")
    entry = root["entry"]
    assert str(entry["title"]) == "uv_vis.measure of A1 (simulated)"
    assert str(entry["start_time"]) == "2026-03-01T12:30:00+00:00"
    assert datetime.fromisoformat(str(entry["end_time"])) > AT
    assert {name: entry[name].nxclass for name in ("sample", "instrument", "user", "octolab")} == {
        "sample": "NXsample",
        "instrument": "NXinstrument",
        "user": "NXuser",
        "octolab": "NXcollection",
    }
    assert str(entry["sample/name"]) == "A1"


def test_a_file_says_what_it_belongs_to_and_that_it_is_simulated(tmp_path: Path) -> None:
    with h5py.File(tmp_path / write_spectrum(tmp_path)["absorbance"]["file"]) as file:
        about = {
            key: value.asstr()[()] if value.dtype.kind == "O" else value[()]
            for key, value in file["entry/octolab"].items()
        }
        assert file.attrs["simulated"]
        assert file["entry/temperature/temperature"].attrs["units"] == "degC"
    version = about.pop("octolab_version")
    assert version
    assert about == {
        "job_id": "019f-job",
        "job_name": "Silver",
        "sample_id": "sample-1",
        "task_id": "task-1",
        "module": "uv_vis",
        "task": "measure",
        "attempt_id": "019f-step/1",
        "run_uid": "run-1",
        "owner": "ann",
        "project": "ann",
        "simulated": True,
        "schema_version": 1,
    }


def test_references_lead_to_the_array(tmp_path: Path) -> None:
    reference = write_spectrum(tmp_path)["absorbance"]
    assert reference["file"] == "raw/2026/03/019f-job/019f-step-1.nxs"
    content = (tmp_path / reference["file"]).read_bytes()
    assert reference["bytes"] == len(content)
    assert reference["sha256"] == hashlib.sha256(content).hexdigest()
    assert (reference["dtype"], reference["shape"], reference["unit"]) == ("float64", [550], "")
    assert reference["axes"] == {"wavelength": "nm"}
    assert json.loads(json.dumps(reference)) == reference
    part = read_slice(tmp_path / reference["file"], reference["path"], start=100, stop=110, step=5)
    np.testing.assert_array_equal(part.values, SPECTRUM[100:110:5])
    np.testing.assert_array_equal(part.axes["wavelength"][0], WAVELENGTHS[100:110:5])
    assert (part.unit, part.axes["wavelength"][1], part.shape) == ("", "nm", (550,))


def test_each_member_of_a_batch_has_its_entry(tmp_path: Path) -> None:
    runs = (Run("r1", "t1", "s1", "A1"), Run("r2", "t2", "s2", "A2"))
    with ArrayFile(tmp_path, raw_path("j", "s/1", AT), metadata(*runs)) as file:
        with pytest.raises(ValueError, match="not a run"):
            file.add("mass", [1.0], "g", member="r3")
        file.add("mass", [1.0], "g", member="r1")
        file.add("mass", [2.0], "g", member="r2")
        file.add("furnace", [900.0, 901.0], "K", {"time": ([0.0, 1.0], "s")})
        references = file.close()
    assert references["r1"]["furnace"]["path"] == "/entry_1/furnace/furnace"
    assert references["r2"]["furnace"]["path"] == "/entry_2/furnace/furnace"
    for uid, name, value in (("r1", "A1", 1.0), ("r2", "A2", 2.0)):
        reference = references[uid]["mass"]
        assert read_slice(tmp_path / reference["file"], reference["path"]).values.tolist() == [value]
        common = references[uid]["furnace"]
        assert read_slice(tmp_path / common["file"], common["path"]).values.tolist() == [900.0, 901.0]
        with h5py.File(tmp_path / reference["file"]) as opened:
            assert opened[reference["path"]].parent.parent["sample/name"].asstr()[()] == name


@settings(max_examples=25, deadline=None)
@given(
    shape=st.lists(st.integers(0, 4), max_size=3),
    dtype=st.sampled_from(["bool", "int8", "uint16", "int64", "float32", "float64"]),
    unit=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5),
    seed=st.integers(0, 1000),
)
def test_any_numbers_survive(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: str, unit: str, seed: int
) -> None:
    root = tmp_path_factory.mktemp("any")
    data = (np.random.default_rng(seed).normal(size=shape) * 10).astype(dtype)
    if data.dtype.kind == "f" and data.size:
        data.flat[0] = np.nan
    with ArrayFile(root, raw_path("j", "s/1", AT), metadata()) as file:
        file.add("data", data, unit)
        reference = file.close()["run-1"]["data"]
    part = read_slice(root / reference["file"], reference["path"])
    np.testing.assert_array_equal(part.values, data)
    assert (part.values.dtype, part.unit, part.shape) == (data.dtype, unit, data.shape)


@pytest.mark.parametrize(
    ("name", "data", "axes", "reason"),
    [
        ("../x", [1.0], {}, "name of an array"),
        ("x", ["text"], {}, "only real numbers"),
        ("x", [1j], {}, "only real numbers"),
        ("x", [[1.0], [1.0, 2.0]], {}, "inhomogeneous"),
        ("x", [1.0, 2.0], {"t": ([1.0], "s")}, "dimension 0"),
        ("x", [1.0], {"t": ([1.0], "s"), "u": ([1.0], "s")}, "2 axes"),
        ("x", [1.0], {"x": ([1.0], "s")}, "there already"),
        ("absorbance", [1.0], {}, "there already"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, name: str, data: Any, axes: Any, reason: str) -> None:
    file = ArrayFile(tmp_path, raw_path("j", "s/1", AT), metadata())
    file.add("absorbance", SPECTRUM, "")
    with pytest.raises(ValueError, match=reason):
        file.add(name, data, "", axes)
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.add("late", [1.0], "s")


def test_a_result_is_never_rewritten(tmp_path: Path) -> None:
    write_spectrum(tmp_path)
    with pytest.raises(FileExistsError, match="never rewritten"):
        write_spectrum(tmp_path)


@pytest.mark.parametrize("path", ["/etc/x.nxs", "raw/../../x.nxs", ""])
def test_a_file_stays_below_the_data_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="below the data root"):
        ArrayFile(tmp_path, path, metadata())


@pytest.mark.parametrize("text", ["../x", "a/b", "..", "", "a\0"])
def test_ids_that_are_no_ids_make_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="file's name"):
        processed_path("spectrum@1", text, "x")


def test_an_abandoned_file_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), ArrayFile(tmp_path, raw_path("j", "s/1", AT), metadata()) as file:  # noqa: PT012
        file.add("absorbance", SPECTRUM, "")
        raise ZeroDivisionError
    assert ArrayFile(tmp_path, raw_path("j", "s/2", AT), metadata()).close() == {}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


CHILD = """
import os, resource, signal, sys
from pathlib import Path
import numpy as np
from analysis import arrays
from tests.analysis.test_arrays import AT, metadata, write_spectrum
root = Path(sys.argv[1])
"""


def child(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHILD + script, str(root)], capture_output=True, text=True)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    done = child(
        """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
file = arrays.ArrayFile(root, arrays.raw_path("j", "s/1", AT), metadata())
file.add("noise", np.random.default_rng(1).random(100_000), "V")
try:
    file.close()
except arrays.DiskFullError as error:
    print(error)
assert not [path for path in root.rglob("*") if path.is_file()]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(file.close()["run-1"]["noise"]["file"])
""",
        tmp_path,
    )
    assert "no space left" in done.stdout, done.stderr
    assert h5py.File(tmp_path / done.stdout.splitlines()[-1])["entry/noise/noise"].shape == (100_000,)


def test_a_crash_before_the_rename_leaves_only_a_part(tmp_path: Path) -> None:
    done = child("arrays.os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\nwrite_spectrum(root)", tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["019f-step-1.nxs.part"]
    assert write_spectrum(tmp_path)["absorbance"]["bytes"] > 0, "a left-over part is in nobody's way"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["019f-step-1.nxs"]


def test_entries_of_several_files_are_assembled(tmp_path: Path) -> None:
    sources = []
    for number in (1, 2):
        reference = write_spectrum(tmp_path, f"step/{number}")["absorbance"]
        sources.append((tmp_path / reference["file"], "entry", f"A{number}"))
    assemble(tmp_path / "job.nxs", sources, simulated=True)
    root = nxload(tmp_path / "job.nxs")
    assert root.get_default().nxpath == "/A1/absorbance"
    assert str(root["A2/octolab/attempt_id"]) == "step/2"
    assert root.attrs["simulated"]
    np.testing.assert_array_equal(root["A2/absorbance"].nxsignal.nxdata, SPECTRUM)
