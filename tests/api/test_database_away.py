"""A database that is locked for too long is no mistake of the server: 503, and when to try again."""

from __future__ import annotations

import json

from django.db import OperationalError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from octolab.api.errors import to_response


def test_a_locked_database_is_reported_as_away() -> None:
    request = Request(APIRequestFactory().post("/api/v1/jobs"))
    response = to_response(OperationalError("database is locked"), {"request": request})
    assert response is not None
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "2"
    problem = json.loads(response.content)
    assert problem["type"] == "urn:octolab:problem:database-away"
    assert "locked" not in problem["detail"]
