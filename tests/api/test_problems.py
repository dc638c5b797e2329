"""Every error below ``/api`` is a problem document, whoever makes it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from django.test import Client

from octolab.api import system
from tests.cast import World


def check(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["type"].startswith("urn:octolab:problem:")
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"].startswith("/api/")
    return problem


def test_an_unknown_address(world: World) -> None:
    check(world.owner.client.get("/api/v1/nothing"), 404)
    check(world.owner.client.get("/api/v2/jobs"), 404)


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1"])
def test_a_trailing_slash_is_told(world: World, path: str) -> None:
    for method in ("GET", "POST"):
        problem = check(world.owner.client.generic(method, f"{path}/"), 404)
        assert problem["detail"] == f"No address of the API ends with a slash. Try {path}."
    assert world.owner.client.get(path).status_code == 200


def test_the_index_leads_somewhere(world: World) -> None:
    links = world.anonymous.client.get("/api/v1").json()["links"]
    assert {"jobs", "openapi", "job_schema", "health"} <= links.keys()
    for address in links.values():
        assert world.owner.client.get(address).status_code in {200, 405}, address


def test_the_types_of_a_body_that_are_taken_are_named(world: World) -> None:
    response = world.owner.client.post("/api/v1/jobs", "x", content_type="text/csv")
    problem = check(response, 415)
    assert "'text/csv' is not taken here" in problem["detail"]
    for taken in ("application/json", "application/yaml", "text/yaml"):
        assert taken in problem["detail"]
        assert taken in response.headers["Accept"]


def test_a_method_that_is_not_taken(world: World) -> None:
    response = world.owner.client.put("/api/v1/jobs")
    check(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, POST"
    assert world.owner.client.head("/api/v1/jobs").status_code == 200
    check(world.owner.client.options("/api/v1/jobs"), 405)
    check(world.owner.client.generic("TRACE", "/api/v1/jobs"), 405)


def test_no_credential(world: World) -> None:
    response = world.anonymous.client.get("/api/v1/jobs")
    check(response, 401)
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer ü", "Bearer octolab_wrong", "Basic YTpi", "Token x"])
def test_a_credential_that_does_not_work(world: World, value: str) -> None:
    check(Client().get("/api/v1/jobs", headers={"Authorization": value}), 401)


def test_a_mistake_of_the_server_tells_nothing(world: World) -> None:
    with mock.patch.object(system, "openapi_document", side_effect=RuntimeError("password=hunter2")):
        response = world.anonymous.client.get("/api/v1/openapi.json")
    check(response, 500)
    assert b"hunter2" not in response.content


def test_a_host_that_is_not_ours(world: World) -> None:
    check(world.owner.client.get("/api/v1/jobs", headers={"Host": "evil.example"}), 400)


def test_a_media_type_that_cannot_be_given(world: World) -> None:
    check(world.owner.client.get("/api/v1/jobs", headers={"Accept": "text/html"}), 406)


def test_a_wrong_field_has_its_path(world: World) -> None:
    response = world.lead.client.post(
        "/api/v1/projects/team/members", {"username": "x", "role": "king", "boss": 1}, content_type="application/json"
    )
    problem = check(response, 422)
    assert {error["path"] for error in problem["errors"]} == {"/boss"}
    response = world.lead.client.post(
        "/api/v1/projects/team/members", {"username": "x", "role": "king"}, content_type="application/json"
    )
    assert check(response, 422)["errors"][0]["path"] == "/role"


def test_outside_the_api_errors_stay_pages(world: World) -> None:
    response = world.owner.client.get("/nothing")
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


def test_every_answer_has_the_headers_of_a_careful_server(world: World) -> None:
    for response in (world.owner.client.get("/api/v1/jobs"), world.anonymous.client.get("/nothing")):
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Referrer-Policy"] == "same-origin"
    assert world.owner.client.get("/api/v1/jobs").headers["Cache-Control"] == "no-store"
