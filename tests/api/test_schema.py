"""The OpenAPI document."""

from __future__ import annotations

import functools
import json
import re
import warnings
from pathlib import Path

from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.validation import validate_schema

from octolab.api.schema import api_views
from tests.api.test_rights import routes


def test_it_is_made_without_warnings_and_valid() -> None:
    GENERATOR_STATS.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = SchemaGenerator().get_schema(request=None, public=True)
    assert not GENERATOR_STATS
    assert document["openapi"].startswith("3.1")
    validate_schema(document)


def test_every_route_is_described_with_its_problems() -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)
    for entry, demand in routes().items():
        method, _, route = entry.partition(" ")
        path = ("/api/v1/" + route).removesuffix("/")
        for kind in ("uuid", "slug", "str"):
            path = path.replace(f"<{kind}:", "{").replace(">", "}")
        operation = document["paths"][path][method.lower()]
        assert operation["description"], entry
        assert operation["tags"], entry
        if not demand.public:
            assert {"401", "403"} <= set(operation["responses"]), entry
        if demand.scope:
            assert operation["x-scope"] == demand.scope


def test_every_reference_resolves() -> None:
    document = SchemaGenerator().get_schema(request=None, public=True)
    for reference in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        functools.reduce(lambda part, name: part[name], reference.split("/"), document)


def test_no_route_ends_with_a_slash() -> None:
    assert not [route for route in api_views() if route.endswith("/")]


def test_the_reference_page_has_every_route() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "rest.md").read_text()
    for entry in routes():
        shown = re.sub(r"<\w+:(\w+)>", r"{\1}", entry.replace(" ", " /", 1))
        assert f"`{shown}`" in page, f"docs/reference/rest.md lacks {shown}"
