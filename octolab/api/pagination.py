"""Pages by cursor: steady while rows are added, and as fast for the last page as for the first."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request

from .serializers import StrictSerializer

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class PageQuery(StrictSerializer):
    """The query parameters of a list."""

    cursor = serializers.UUIDField(required=False, help_text="Where the last page ended: `next` holds it.")
    limit = serializers.IntegerField(required=False, min_value=1, max_value=MAX_LIMIT, default=DEFAULT_LIMIT)


def page(rows: QuerySet[Any], *, cursor: UUID | None, limit: int) -> tuple[list[Any], UUID | None]:
    """Return one page of rows that have a UUIDv7 as id, newest first, and the cursor of the next (None at the end)."""
    rows = rows.order_by("-id")
    if cursor is not None:
        rows = rows.filter(id__lt=cursor)
    found = list(rows[: limit + 1])
    return found[:limit], found[limit - 1].id if len(found) > limit else None


def envelope(request: Request, results: list[Any], next_cursor: UUID | None) -> dict[str, Any]:
    """Return what a list answers: the page, and the address of the next."""
    following = None
    if next_cursor is not None:
        parameters = {**request.query_params.dict(), "cursor": str(next_cursor)}
        following = f"{request.path}?{urlencode(parameters)}"
    return {"results": results, "next": following}
