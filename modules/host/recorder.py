"""What an attempt leaves behind: event-model documents, results and arrays, one run per member.

Plain actions and Bluesky plans end up in the same documents. The run of a member has the uid that the order
gives it; the runs that a plan opens itself are folded into it.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modules.contract.manifest import Result, Task
from modules.contract.messages import Member, Order, Outcome
from octolab.ids import new_id

from .journal import Journal

if TYPE_CHECKING:
    from analysis.arrays import ArrayFile

SCHEMA_VERSION = 1
INLINE_ITEMS = 16
"""A list of at most this many items stays in an event; a longer one goes to the array file."""

Document = dict[str, Any]
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "number": (int, float),
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
}


class ResultError(ValueError):
    """A result does not fit what the manifest declares."""


@dataclass
class _Stream:
    descriptor: str
    data_keys: Mapping[str, Any]
    count: int = 0


@dataclass
class _MemberRun:
    member: Member
    results: dict[str, Any] = field(default_factory=dict)
    fresh: dict[str, Any] = field(default_factory=dict)
    references: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Array name → where it is, for all arrays in the file."""
    error: str = ""
    streams: dict[str, _Stream] = field(default_factory=dict)
    folded: dict[str, _Stream] = field(default_factory=dict)
    """Descriptor uid of the plan → this member's stream."""


class Recorder:
    """Writes the documents of one attempt into the journal.

    Parameters
    ----------
    journal : Journal
        Where the documents go.
    order : Order
        What is done, for whom.
    task : Task
        The task in the manifest, for names, types and units of results.
    data_root : pathlib.Path
        Array files go to ``raw/`` below it.
    origin : Mapping
        What else every start document says: host, incarnation.
    """

    def __init__(self, journal: Journal, order: Order, task: Task, data_root: Path, origin: Mapping[str, Any]) -> None:
        self._journal = journal
        self._order = order
        self._declared = {result.name: result for result in task.results}
        self._data_root = data_root
        self._origin = origin
        self._runs = [_MemberRun(member) for member in order.members]
        self._file: ArrayFile | None = None
        self._later: list[tuple[str, Any, str, Member]] = []
        self._event_arrays: dict[tuple[str, str], Iterator[str]] = {}
        self._started = False

    # ------------------------------------------------------------------ while it runs

    def start(self, lab_s: float) -> None:
        """Write the start documents."""
        order = self._order
        for run in self._runs:
            member = run.member
            self._write(
                "run_starts",
                {
                    "uid": member.run_uid,
                    "time": time.time(),
                    "schema_version": SCHEMA_VERSION,
                    "owner": order.owner,
                    "project": order.project_id,
                    "project_id": order.project_id,
                    "job_id": order.job_id,
                    "job_name": order.job_name,
                    "sample": member.sample_name,
                    "sample_id": member.sample_id,
                    "task": order.task,
                    "task_id": member.task_id,
                    "module": order.module,
                    "manifest_hash": order.manifest_hash,
                    "attempt_id": order.attempt_id,
                    "attempt": order.attempt,
                    "step_ids": [step.step_id for step in order.steps],
                    "parameters": member.parameters,
                    "origins": member.origins,
                    "places": member.places,
                    "simulated": order.simulated,
                    "lab_s": lab_s,
                    **self._origin,
                },
            )
        self._started = True

    def record(self, values: Mapping[str, Any], member: Member | None) -> None:
        """Keep scalar results of one member, or of all.

        Raises
        ------
        ResultError
            A name is not among the task's results, or a value has another type than declared.
        """
        checked = {name: self._checked(name, value) for name, value in values.items()}
        for run in self._select(member):
            run.results.update(checked)
            run.fresh.update(checked)

    def array(
        self, name: str, data: Any, unit: str, axes: Mapping[str, tuple[Any, str]] | None, member: Member | None
    ) -> None:
        """Write an array of one member, or of all, to the attempt's file.

        Raises
        ------
        ResultError
            The name is not an array among the task's results, or the unit is another than declared.
        """
        declared = self._declaration(name)
        if declared.dtype != "array":
            raise ResultError(f"result {name!r} is declared as {declared.dtype}, not as array: use ctx.record")
        if unit and declared.unit and unit != declared.unit:
            raise ResultError(f"result {name!r} is declared in {declared.unit!r}, not in {unit!r}")
        self._add_array(name, data, unit or declared.unit, axes, member)

    def fail(self, member: Member, reason: str) -> None:
        """Note that one member failed; the others go on."""
        for run in self._select(member):
            run.error = run.error or reason

    def end_step(self, stream: str) -> None:
        """Write what was recorded since the last step as one event per member."""
        for run in self._runs:
            fresh, run.fresh = run.fresh, {}
            if fresh:
                keys = {name: self._data_key(self._declared[name]) for name in fresh}
                self._emit(run, stream, keys, fresh)

    # ------------------------------------------------------------------ documents of a plan

    def fold(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document that a Bluesky plan emitted into the runs of all members."""
        match name:
            case "descriptor":
                for run in self._runs:
                    slim = {**document, "configuration": self._slim(document.get("configuration", {}), run.member)}
                    stream = self._open_stream(run, str(document["name"]), document["data_keys"], slim)
                    run.folded[document["uid"]] = stream
            case "event":
                for run in self._runs:
                    stream = run.folded[document["descriptor"]]
                    data, filled = self._without_arrays(document["data"], stream, run.member)
                    self._event(stream, data, document["timestamps"], document["time"], filled)
            case "event_page":
                import event_model

                for event in event_model.unpack_event_page(document):  # type: ignore[arg-type]
                    self.fold("event", event)

    def _slim(self, configuration: Mapping[str, Any], member: Member) -> Document:
        """Return the devices' configuration with the names of arrays in their place: a spectrometer's wavelengths."""
        slim: Document = {}
        for device, entry in configuration.items():
            data, _ = self._without_arrays(entry["data"], _Stream("", entry["data_keys"]), member)
            slim[device] = {**entry, "data": data}
        return slim

    def _keep_for_later(self, key: str, data: Any, unit: str, member: Member) -> str:
        """Put an array of an event behind those that the action records itself; return its name in the file."""
        base = re.sub(r"\W", "_", key)
        names = self._event_arrays.setdefault((member.run_uid, base), _numbered(base))
        name = next(name for name in names if name not in self._declared)
        self._later.append((name, data, unit, member))
        return name

    def _without_arrays(
        self, data: Mapping[str, Any], stream: _Stream, member: Member
    ) -> tuple[Document, dict[str, Any]]:
        kept: Document = {}
        filled: dict[str, Any] = {}
        for key, value in data.items():
            plain = value.item() if getattr(value, "shape", None) == () else value
            size = getattr(plain, "size", None) or (len(plain) if isinstance(plain, list | tuple) else 0)
            if size > INLINE_ITEMS:
                unit = stream.data_keys.get(key, {}).get("units") or ""
                kept[key], filled[key] = self._keep_for_later(key, plain, unit, member), False
            else:
                kept[key] = plain.tolist() if hasattr(plain, "tolist") else plain
        return kept, filled

    # ------------------------------------------------------------------ at the end

    def close_file(self) -> None:
        """Bring the array file to its final place and note where each array is.

        Raises
        ------
        OSError
            It cannot be written. Its arrays are lost, and no run refers to them.
        """
        for name, data, unit, member in self._later:
            self._add_array(name, data, unit, None, member)
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            references = file.close()
        except OSError:
            file.discard()
            raise
        for run in self._runs:
            run.references = references.get(run.member.run_uid, {})

    def stop(self, exit_status: str, reason: str, lab_s: float) -> None:
        """Write events for arrays, the results and the stop documents."""
        if not self._started:
            return
        for run in self._runs:
            failed = exit_status != "success" or bool(run.error)
            if run.references:
                self._emit_arrays(run)
            if run.results or run.references or failed:
                self._write_results(run, exit_status, reason, lab_s)
            self._write(
                "run_stops",
                {
                    "uid": str(new_id()),
                    "time": time.time(),
                    "schema_version": SCHEMA_VERSION,
                    "run_start": run.member.run_uid,
                    "exit_status": exit_status if not run.error else "fail",
                    "reason": (run.error or reason) if failed else reason,
                    "num_events": {name: stream.count for name, stream in run.streams.items()},
                    "lab_s": lab_s,
                },
            )

    def outcomes(self, error: str) -> list[Outcome]:
        """Return how each member's run ended; ``error`` is what failed them all."""
        return [
            Outcome(
                task_id=run.member.task_id,
                sample_id=run.member.sample_id,
                ok=not (error or run.error),
                run_uid=run.member.run_uid,
                results=run.results,
                arrays=self._results_among(run.references),
                error=run.error or error,
            )
            for run in self._runs
        ]

    # ------------------------------------------------------------------

    def _write_results(self, run: _MemberRun, exit_status: str, reason: str, lab_s: float) -> None:
        order, member = self._order, run.member
        values = {name: {"value": value, "unit": self._declared[name].unit} for name, value in run.results.items()}
        self._write(
            "results",
            {
                "uid": member.run_uid,
                "schema_version": SCHEMA_VERSION,
                "job_id": order.job_id,
                "project_id": order.project_id,
                "owner": order.owner,
                "sample_id": member.sample_id,
                "sample": member.sample_name,
                "task_id": member.task_id,
                "task": order.task,
                "module": order.module,
                "attempt_id": order.attempt_id,
                "attempt": order.attempt,
                "ok": exit_status == "success" and not run.error,
                "error": run.error or (reason if exit_status != "success" else ""),
                "values": values,
                "arrays": self._results_among(run.references),
                "simulated": order.simulated,
                "ended_lab_s": lab_s,
                "time": time.time(),
            },
        )

    def _emit_arrays(self, run: _MemberRun) -> None:
        keys = {}
        for name, reference in run.references.items():
            keys[name] = {
                "source": f"octolab:{self._order.module}",
                "dtype": "array",
                "shape": reference["shape"],
                "units": reference["unit"],
                "external": "FILE:NEXUS",
            }
        data = {name: f"{reference['file']}#{reference['path']}" for name, reference in run.references.items()}
        self._emit(run, "arrays", keys, data, filled=dict.fromkeys(data, False))

    def _emit(
        self,
        run: _MemberRun,
        name: str,
        data_keys: Mapping[str, Any],
        data: Mapping[str, Any],
        filled: Mapping[str, Any] | None = None,
    ) -> None:
        stream = run.streams.get(name)
        if stream is None or stream.data_keys != data_keys:
            stream = self._open_stream(run, name, data_keys, {})
        now = time.time()
        self._event(stream, data, dict.fromkeys(data, now), now, filled or {})

    def _open_stream(
        self, run: _MemberRun, name: str, data_keys: Mapping[str, Any], like: Mapping[str, Any]
    ) -> _Stream:
        free = next(free for free in _numbered(name) if free not in run.streams)
        stream = run.streams[free] = _Stream(str(new_id()), data_keys)
        self._write(
            "descriptors",
            {
                "configuration": {},
                "hints": {},
                "object_keys": {},
                **{key: like[key] for key in ("configuration", "hints", "object_keys") if key in like},
                "uid": stream.descriptor,
                "time": like.get("time", time.time()),
                "run_start": run.member.run_uid,
                "name": free,
                "data_keys": data_keys,
            },
        )
        return stream

    def _event(
        self,
        stream: _Stream,
        data: Mapping[str, Any],
        timestamps: Mapping[str, Any],
        at: float,
        filled: Mapping[str, Any],
    ) -> None:
        stream.count += 1
        self._write(
            "events",
            {
                "uid": str(new_id()),
                "time": at,
                "descriptor": stream.descriptor,
                "seq_num": stream.count,
                "data": dict(data),
                "timestamps": dict(timestamps),
                "filled": dict(filled),
            },
        )

    def _write(self, collection: str, document: Document) -> None:
        self._journal.append({"k": "doc", "c": collection, "d": {"_id": document["uid"], **document}})

    def _add_array(
        self, name: str, data: Any, unit: str, axes: Mapping[str, tuple[Any, str]] | None, member: Member | None
    ) -> None:
        if self._file is None:
            self._file = self._new_file()
        self._file.add(name, data, unit, axes, member.run_uid if member else None)

    def _new_file(self) -> ArrayFile:
        from analysis.arrays import ArrayFile, Metadata, Run, raw_path

        order = self._order
        started_at = datetime.now(UTC)
        metadata = Metadata(
            job_id=order.job_id,
            job_name=order.job_name,
            attempt_id=order.attempt_id,
            module=order.module,
            task=order.task,
            owner=order.owner,
            project=order.project_id,
            simulated=order.simulated,
            started_at=started_at,
            runs=tuple(
                Run(member.run_uid, member.task_id, member.sample_id, member.sample_name) for member in order.members
            ),
        )
        return ArrayFile(self._data_root, raw_path(order.job_id, order.attempt_id, started_at), metadata)

    def _results_among(self, references: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out what a plan's events brought along: it is in the file, but no result of the task."""
        return {name: reference for name, reference in references.items() if name in self._declared}

    def _select(self, member: Member | None) -> list[_MemberRun]:
        if member is None:
            return self._runs
        return [run for run in self._runs if run.member.run_uid == member.run_uid]

    def _declaration(self, name: str) -> Result:
        try:
            return self._declared[name]
        except KeyError:
            known = ", ".join(sorted(self._declared)) or "none"
            raise ResultError(
                f"task {self._order.task!r} has no result {name!r} in the manifest (it has: {known})"
            ) from None

    def _checked(self, name: str, value: Any) -> Any:
        declared = self._declaration(name)
        if declared.dtype == "array":
            raise ResultError(f"result {name!r} is an array: use ctx.array")
        plain = value.item() if hasattr(value, "dtype") and getattr(value, "shape", None) == () else value
        fits = isinstance(plain, _PYTHON_TYPES[declared.dtype])
        if not fits or (isinstance(plain, bool) and declared.dtype != "boolean"):
            raise ResultError(f"result {name!r} is declared as {declared.dtype}, and {value!r} is none")
        return plain

    def _data_key(self, result: Result) -> Document:
        return {
            "source": f"octolab:{self._order.module}",
            "dtype": result.dtype,
            "shape": [],
            "units": result.unit,
        }


def _numbered(name: str) -> Iterator[str]:
    """Yield name, name_2, name_3 and so on."""
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(2))
