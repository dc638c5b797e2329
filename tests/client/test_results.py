"""Results as values, table and arrays, and files on their way."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from octolab.client import CorruptDownloadError, NotFoundError, Octolab, UnreachableError

from .scripted import Answer, Script

CONTENT = bytes(range(256)) * 400
FILE = {
    "name": "a-1.nxs",
    "href": "/api/v1/jobs/1/files/a-1.nxs",
    "bytes": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
}
FILES = Answer(200, {"files": [FILE]})
WHOLE = Answer(200, CONTENT)


def run(value: Any, *, counts: bool = True) -> dict[str, Any]:
    links = {"data": "/api/v1/jobs/1/arrays/uid.absorbance"}
    return {
        "task_key": "spectrum",
        "counts": counts,
        "values": {"peak": {"value": value, "unit": "nm"}},
        "arrays": {"absorbance": {"links": links}},
    }


RESULTS = {
    "job_id": "1",
    "state": "completed",
    "simulated": True,
    "columns": [{"task": "spectrum", "name": "peak", "unit": "nm"}],
    "samples": [
        {
            "name": "A",
            "state": "completed",
            "parameters": {"agno3": {"value": 100.0, "unit": "uL"}},
            "runs": [run(1.0, counts=False), run(412.5)],
        },
        {"name": "B", "state": "failed", "parameters": {"agno3": {"value": 200.0, "unit": "uL"}}, "runs": []},
        {"name": "C", "state": "completed", "parameters": {}, "runs": [run("NaN")]},
    ],
}


def test_the_table_has_a_row_per_sample_and_units(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, RESULTS))
    table = lab.results("1").table()
    assert table.columns == ("sample", "state", "agno3", "spectrum.peak [nm]")
    assert table.rows[:2] == (("A", "completed", "100 uL", 412.5), ("B", "failed", "200 uL", None))
    assert table.rows[2][:3] == ("C", "completed", None)
    assert math.isnan(table.rows[2][3])
    assert table.as_dicts()[0]["spectrum.peak [nm]"] == 412.5


def test_values_are_those_that_count(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, RESULTS))
    results = lab.results("1")
    assert results.values()["A"] == {"spectrum": {"peak": {"value": 412.5, "unit": "nm"}}}
    assert results.simulated


def test_an_array_comes_with_axes_and_units(script: Script, lab: Octolab) -> None:
    answer = {
        "unit": "",
        "dtype": "float64",
        "values": [0.1, "NaN", 0.3],
        "axes": {"wavelength": {"unit": "nm", "values": [300, 301, 302]}},
    }
    script.say(Answer(200, RESULTS), Answer(200, answer))
    array = lab.results("1").array("absorbance", sample="A")
    np.testing.assert_array_equal(array.values, [0.1, np.nan, 0.3])
    points, unit = array.axes["wavelength"]
    assert (points.tolist(), unit) == ([300, 301, 302], "nm")


def test_an_array_that_is_not_there_is_named_with_those_that_are(script: Script, lab: Octolab) -> None:
    script.say(Answer(200, RESULTS))
    with pytest.raises(KeyError, match=r"A/spectrum/absorbance.*C/spectrum/absorbance"):
        lab.results("1").array("reflectance", sample="A")


def test_a_download_goes_on_where_it_broke_off(script: Script, lab: Octolab, tmp_path: Path) -> None:
    rest = Answer(206, CONTENT[1000:])
    script.say(FILES, Answer(200, CONTENT, cut_after=1000), rest)
    (path,) = lab.download("1", tmp_path)
    assert path.read_bytes() == CONTENT
    assert script.seen[2].headers["Range"] == "bytes=1000-"
    assert [file.name for file in tmp_path.iterdir()] == ["a-1.nxs"]


def test_a_server_that_ignores_ranges_sends_all_again(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES, Answer(200, CONTENT, cut_after=1000), WHOLE)
    (path,) = lab.download("1", tmp_path)
    assert path.read_bytes() == CONTENT


def test_what_is_there_already_is_not_fetched_again(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES, WHOLE, FILES)
    lab.download("1", tmp_path)
    lab.download("1", tmp_path)
    assert len(script.seen) == 3


def test_a_damaged_download_is_not_kept(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES, Answer(200, CONTENT[:-1] + b"!"))
    with pytest.raises(CorruptDownloadError, match=r"a-1\.nxs arrived with another checksum"):
        lab.download("1", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_breaks_off_for_ever_is_given_up(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES, *(Answer(206, CONTENT, cut_after=10) for _ in range(3)))
    with pytest.raises(UnreachableError, match="broke off"):
        lab.download("1", tmp_path)


def test_only_the_files_that_fit_are_downloaded(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES)
    assert lab.download("1", tmp_path, pattern="*.csv") == []


def test_a_file_cannot_be_written_elsewhere(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(Answer(200, {"files": [{**FILE, "name": "../../etc/a.nxs"}]}), WHOLE)
    (path,) = lab.download("1", tmp_path / "here")
    assert path == tmp_path / "here" / "a.nxs"


def test_a_refused_download_is_an_error(script: Script, lab: Octolab, tmp_path: Path) -> None:
    script.say(FILES, Answer(404, {"detail": "This job has no file of that name."}))
    with pytest.raises(NotFoundError, match="no file of that name"):
        lab.download("1", tmp_path)
