"""A job's results on its page: curves, one table with units, files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis import arrays, files
from analysis.results import Column, JobResults, Run, job_results
from scheduler.models import Job

from . import figures, words

MOST_CURVES = 24
MOST_POINTS = 20_000
"""Of one array: longer ones are for the file."""
PEAK = ("peak_nm", "peak_height")
"""A value along the axis and its height, which the chart marks on the curve."""

Named = Sequence[tuple[str, JobResults]]


def job_figures_and_table(job: Job) -> dict[str, Any]:
    """Return what the results section shows.

    Raises
    ------
    StoreError
        If the document store is away.
    """
    results = job_results(job)
    return figures_and_table([("", results)]) | {"files": _files(results)}


def figures_and_table(named: Named) -> dict[str, Any]:
    """Return charts and table of one job, or of several, each with what it is called."""
    return {"charts": _charts(named), "table": _table(named), "several": len(named) > 1}


def _charts(named: Named) -> list[dict[str, Any]]:
    """Draw one chart for each array of one dimension, a curve for each sample."""
    curves: dict[Column, list[figures.Curve]] = {}
    axes: dict[Column, str] = {}
    for job_name, run in ((name, run) for name, results in named for run in results.runs if run.counts):
        for name, reference in run.arrays.items():
            key = (run.task_key, name, str(reference.get("unit") or ""))
            if len(reference.get("shape") or ()) != 1 or reference["shape"][0] > MOST_POINTS:
                continue
            if len(curves.setdefault(key, [])) >= MOST_CURVES:
                continue
            drawn = _curve(job_name, run, reference)
            if drawn is not None:
                curve, axes[key] = drawn
                curves[key].append(curve)
    charts = []
    for key, drawn_curves in curves.items():
        task, name, unit = key
        svg = figures.chart(drawn_curves, axes.get(key, ""), f"{name} ({unit})" if unit else name)
        if svg:
            charts.append({"title": words.sentence(f"{words.task_key(task)}: {words.plain(name)}"), "svg": svg})
    return charts


def _curve(job_name: str, run: Run, reference: dict[str, Any]) -> tuple[figures.Curve, str] | None:
    try:
        part = arrays.read_slice(files.path_of(reference), reference["path"])
    except (OSError, KeyError, files.DamagedFileError):
        return None
    axis, (points, unit) = next(iter(part.axes.items()), ("index", (range(len(part.values)), "")))
    values = run.values
    marks = []
    if all(isinstance(values.get(name, {}).get("value"), float | int) for name in PEAK):
        marks = [(float(values[PEAK[0]]["value"]), float(values[PEAK[1]]["value"]))]
    label = ": ".join(filter(None, (job_name, run.sample.name if run.sample else run.task_key)))
    curve = figures.Curve(label, [float(x) for x in points], [float(y) for y in part.values], marks)
    return curve, f"{axis} ({unit})" if unit else axis


def _table(named: Named) -> dict[str, Any]:
    """Return one row per sample: what was varied, then what was measured; what is the same in all stands apart."""
    rows = []
    samples = [(name, results, sample) for name, results in named for sample in results.samples]
    parameters = list(dict.fromkeys(name for _, _, sample in samples for name in sample.parameters))
    for job_name, results, sample in samples:
        runs = [run for run in results.of(sample) if run.counts]
        measured: dict[Column, Any] = {}
        for run in runs:
            for name, entry in run.values.items():
                measured[run.task_key, name, str(entry.get("unit") or "")] = entry.get("value")
        errors = "; ".join(str(run.document["error"]) for run in runs if run.document.get("error"))
        if measured or errors:
            rows.append((job_name, sample, measured, errors))
    known = dict.fromkeys(column for _, results in named for column in results.columns())
    columns = [column for column in known if any(column in measured for _, _, measured, _ in rows)]
    same = [column for column in columns if _all_equal([measured.get(column) for _, _, measured, _ in rows])]
    varied = [column for column in columns if column not in same]
    several = len({task for task, _, _ in varied}) > 1
    return {
        "parameters": parameters,
        "columns": [{"title": _title(column, several), "unit": column[2]} for column in varied],
        "same": [{"title": _title(column, True), "value": rows[0][2][column], "unit": column[2]} for column in same],
        "rows": [
            {
                "job": job_name,
                "sample": sample.name,
                "sample_id": sample.pk,
                "error": errors,
                "parameters": [_plain(sample.parameters.get(name)) for name in parameters],
                "values": [measured.get(column) for column in varied],
            }
            for job_name, sample, measured, errors in rows
        ],
    }


def _all_equal(values: list[Any]) -> bool:
    return len(values) > 1 and all(value == values[0] for value in values)


def _title(column: Column, with_task: bool) -> str:
    """Write a column's heading without the unit, which stands beside it: ``peak`` for ``peak_nm`` in nm."""
    task, name, unit = column
    name = words.plain(name.removesuffix(f"_{unit.lower()}"))
    return words.sentence(f"{words.task_key(task)}: {name}" if with_task else name)


def _plain(parameter: Any) -> Any:
    if isinstance(parameter, dict) and "value" in parameter:
        return f"{parameter['value']} {parameter.get('unit', '')}".strip()
    return parameter


def _files(results: JobResults) -> list[dict[str, Any]]:
    base = f"/api/v1/jobs/{results.job.pk}/files"
    holds = {
        files.file_name(reference["file"]): words.sentence(
            f"{words.task_key(run.task_key)} of {run.sample.name}" if run.sample else words.task_key(run.task_key)
        )
        for run in (*results.runs, *results.analyses)
        for reference in run.arrays.values()
    }
    return [
        {
            "name": file.name,
            "title": holds[file.name],
            "bytes": file.size_bytes,
            "sha256": file.sha256,
            "href": f"{base}/{file.name}",
        }
        for file in files.job_files(results).values()
    ]
