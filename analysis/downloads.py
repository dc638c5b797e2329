"""Sending a file over HTTP: whole or one range of it, with a checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control
from django.utils.http import content_disposition_header, parse_etags
from rest_framework.request import Request

from .files import MEDIA_TYPE, JobFile

CHUNK_BYTES = 64 * 1024
_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


class UnsatisfiableRangeError(ValueError):
    """The range lies outside the file."""


def send(request: HttpRequest | Request, file: JobFile, *, download_as: str, simulated: bool) -> HttpResponseBase:
    """Return a response with a file, or the range of it that was asked for.

    Raises
    ------
    UnsatisfiableRangeError
        If the range lies outside the file; the answer is then 416.
    """
    etag = f'"{file.sha256}"'
    if etag in parse_etags(request.headers.get("If-None-Match", "")):
        response: HttpResponseBase = HttpResponseNotModified()
    else:
        wanted = request.headers.get("Range", "")
        if request.headers.get("If-Range", etag) != etag:
            wanted = ""
        span = requested_range(wanted, file.size_bytes)
        first, last = span or (0, file.size_bytes - 1)
        if request.method == "HEAD":
            response = HttpResponse()
        else:
            response = StreamingHttpResponse(_Section(file.path.open("rb"), first, last + 1))
        response.headers["Content-Type"] = MEDIA_TYPE
        response.headers["Content-Length"] = str(last - first + 1)
        response.headers["Content-Disposition"] = content_disposition_header(True, download_as) or "attachment"
        response.headers["Repr-Digest"] = file.digest
        if span is not None:
            response.status_code = 206
            response.headers["Content-Range"] = f"bytes {first}-{last}/{file.size_bytes}"
    response.headers["ETag"] = etag
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Octolab-Simulated"] = str(simulated).lower()
    patch_cache_control(response, private=True, no_cache=True)
    return response


def requested_range(header: str, size_bytes: int) -> tuple[int, int] | None:
    """Return first and last byte (inclusive) of a ``Range`` field; None for the whole file.

    A field that is no byte range, or asks for several, is ignored, as RFC 9110 allows.

    Raises
    ------
    UnsatisfiableRangeError
        If no byte of the file is in the range.
    """
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    start, end = match.groups()
    if not start:
        first, last = max(0, size_bytes - int(end)), size_bytes - 1
    else:
        first, last = int(start), min(int(end or size_bytes), size_bytes - 1)
        if end and int(end) < int(start):
            return None
    if first > last:
        raise UnsatisfiableRangeError(f"the file has {size_bytes} bytes")
    return first, last


class _Section:
    """Some bytes of an open file, in chunks."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._file.seek(start)
        self._left_bytes = stop - start

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = self._file.read(min(CHUNK_BYTES, self._left_bytes))
        if not chunk:
            raise StopIteration
        self._left_bytes -= len(chunk)
        return chunk

    def close(self) -> None:
        self._file.close()
