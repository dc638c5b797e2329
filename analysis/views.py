"""Results and files of a job over REST."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.utils.http import content_disposition_header
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import Problem, invalid
from octolab.api.serializers import StrictSerializer, query
from octolab.api.views import ApiView
from scheduler.models import Job
from users.models import Scope
from users.permissions import needs

from . import arrays, downloads, files, tables
from .documents import StoreUnavailableError
from .results import JobResults, find_array, job_results, plain, summary

MAX_VALUES = 1_000_000
"""Of one answer; more come in slices, or as the file."""
_TAG = ["results"]
_READ = {"GET": needs(Scope.RESULTS_READ)}
_SIMULATED = "Octolab-Simulated"


class AnyContent(BaseContentNegotiation):
    """For views that answer in one media type, or by a parameter, whatever the client says it accepts."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        """Return the first parser."""
        return parsers[0]

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        """Return the first renderer."""
        return renderers[0], renderers[0].media_type


class _ResultView(ApiView):
    access = _READ
    problems = {"GET": (503,)}

    def results(self, request: Request, job_id: UUID) -> JobResults:
        """Return the results of a job that the asker may see."""
        job = get_object_or_404(Job.objects.visible_to(request.user), pk=job_id)
        try:
            return job_results(job)
        except StoreUnavailableError as error:
            raise Problem(503, "documents-away", "The document store is away. Nothing is lost; try again.") from error


class Results(_ResultView):
    """What a job measured."""

    @extend_schema(operation_id="jobs_results", responses=OpenApiTypes.OBJECT, tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> Response:
        """Get values with units by sample and task, and links to arrays and files. NaN and infinities are text."""
        results = self.results(request, job_id)
        return Response(summary(results, _job_url(request)), headers=_marks(results.job))


class ResultTable(_ResultView):
    """The results as CSV."""

    content_negotiation_class = AnyContent

    @extend_schema(operation_id="jobs_results_csv", responses={(200, "text/csv"): OpenApiTypes.STR}, tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> HttpResponse:
        """Get a table: one row per sample, one column per value, the unit in the heading."""
        results = self.results(request, job_id)
        return _csv(tables.result_table(results), f"{results.job.pk}-results", results.job)


class Files(_ResultView):
    """The files of a job."""

    @extend_schema(operation_id="jobs_files", responses=OpenApiTypes.OBJECT, tags=_TAG)
    def get(self, request: Request, job_id: UUID) -> Response:
        """List the files with size and SHA-256. `job.nxs` holds all of them and is made when it is asked for."""
        results = self.results(request, job_id)
        url = f"{_job_url(request)}/files"
        listed = [
            {
                "name": file.name,
                "kind": file.kind,
                "media_type": files.MEDIA_TYPE,
                "bytes": file.size_bytes,
                "sha256": file.sha256,
                "href": f"{url}/{file.name}",
            }
            for file in files.job_files(results).values()
        ]
        body = {
            "job_id": str(results.job.pk),
            "simulated": results.job.simulated,
            "files": listed,
            "assembled": f"{url}/{files.ASSEMBLED}" if listed else None,
        }
        return Response(body, headers=_marks(results.job))


class File(_ResultView):
    """A file of a job."""

    content_negotiation_class = AnyContent
    problems = {"GET": (416, 503)}

    @extend_schema(
        operation_id="jobs_file",
        parameters=[OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range of bytes.")],
        responses={(status, files.MEDIA_TYPE): OpenApiTypes.BINARY for status in (200, 206)},
        tags=_TAG,
    )
    def get(self, request: Request, job_id: UUID, name: str) -> HttpResponseBase:
        """Get a NeXus HDF5 file or a range of it; `Repr-Digest` and `ETag` hold its SHA-256."""
        results = self.results(request, job_id)
        with _file_problems():
            if name == files.ASSEMBLED:
                file = files.assembled(results)
            else:
                found = files.job_files(results).get(name)
                file = files.checked(found) if found else None
        if file is None:
            raise NotFound("This job has no file of that name.")
        simulated = results.job.simulated
        download_as = f"{results.job.pk}-{'simulated-' if simulated else ''}{file.name}"
        try:
            return downloads.send(request, file, download_as=download_as, simulated=simulated)
        except downloads.UnsatisfiableRangeError as error:
            raise Problem(
                416,
                "range",
                f"The range lies outside: {error}.",
                headers={"Content-Range": f"bytes */{file.size_bytes}"},
            ) from error


class SliceQuery(StrictSerializer):
    """Which part of an array, along its first dimension."""

    start = serializers.IntegerField(default=0, min_value=-(2**53), max_value=2**53)
    stop = serializers.IntegerField(required=False, min_value=-(2**53), max_value=2**53)
    step = serializers.IntegerField(default=1, min_value=1, max_value=2**53)
    format = serializers.ChoiceField(["json", "csv"], default="json")


class Array(_ResultView):
    """An array of a job."""

    content_negotiation_class = AnyContent

    @extend_schema(
        operation_id="jobs_array",
        parameters=[SliceQuery],
        responses={(200, "application/json"): OpenApiTypes.OBJECT, (200, "text/csv"): OpenApiTypes.STR},
        tags=_TAG,
    )
    def get(self, request: Request, job_id: UUID, reference: str) -> HttpResponseBase:
        """Get an array or a slice of it, with its axes and units. NaN and infinities are text in JSON."""
        wanted = query(SliceQuery, request)
        results = self.results(request, job_id)
        found = find_array(results, reference)
        if found is None:
            raise NotFound("This job has no array of that name.")
        run, about = found
        part = _read(about, wanted)
        if wanted["format"] == "csv":
            try:
                return _csv(tables.array_table(part), reference, results.job)
            except tables.NotATableError as error:
                raise invalid(("/format", f"{error}.")) from error
        body = {
            "job_id": str(results.job.pk),
            "run_uid": run.uid,
            "sample_id": run.document.get("sample_id"),
            "simulated": bool(run.document.get("simulated")),
            "name": part.name,
            "unit": part.unit,
            "dtype": about["dtype"],
            "shape": part.shape,
            "start": part.start,
            "stop": part.stop,
            "step": part.step,
            "axes": {
                name: {"unit": unit, "values": plain(points.tolist())} for name, (points, unit) in part.axes.items()
            },
            "values": plain(part.values.tolist()),
        }
        return Response(body, headers=_marks(results.job))


def _read(about: Mapping[str, Any], wanted: Mapping[str, Any]) -> arrays.Slice:
    shape = about["shape"] or [1]
    points = len(range(*slice(wanted["start"], wanted.get("stop"), wanted["step"]).indices(shape[0])))
    values = points * math.prod(shape[1:])
    if values > MAX_VALUES:
        raise invalid(("/stop", f"This slice has {values} values; at most {MAX_VALUES} are sent at once."))
    with _file_problems():
        path = files.path_of(about)
        try:
            return arrays.read_slice(path, about["path"], wanted["start"], wanted.get("stop"), wanted["step"])
        except (OSError, KeyError) as error:
            raise files.DamagedFileError(f"{path.name} cannot be read: {error}") from error


@contextmanager
def _file_problems() -> Iterator[None]:
    try:
        yield
    except files.DamagedFileError as error:
        raise Problem(503, "file-damaged", f"{error}. Tell the lab's administrator.") from error
    except arrays.DiskFullError as error:
        raise Problem(503, "disk-full", "The server has no space left. Tell the lab's administrator.") from error
    except files.TooLargeError as error:
        raise Problem(422, "too-large-to-assemble", f"{error}.") from error


def _job_url(request: Request) -> str:
    return "/".join(request.path.split("/")[:5])


def _marks(job: Job) -> dict[str, str]:
    return {_SIMULATED: str(job.simulated).lower()}


def _csv(text: str, name: str, job: Job) -> HttpResponse:
    name = f"{name}-simulated.csv" if job.simulated else f"{name}.csv"
    headers = {"Content-Disposition": content_disposition_header(True, name) or "attachment", **_marks(job)}
    return HttpResponse(text, content_type="text/csv; charset=utf-8", headers=headers)
