"""The OpenAPI document: what every operation may answer, said once."""

from __future__ import annotations

from typing import Any

from django.urls import get_resolver
from drf_spectacular.authentication import SessionScheme
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import build_bearer_security_scheme_object

from users.permissions import demanded

from .errors import MEDIA_TYPE

_PROBLEM = {
    "type": "object",
    "description": "What went wrong, and what to do (RFC 9457).",
    "properties": {
        "type": {"type": "string", "description": "A URN that programs can switch on."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "message": {"type": "string"}},
                "required": ["path", "message"],
            },
        },
    },
    "required": ["type", "title", "status", "detail"],
}
_MEANINGS = {
    400: "The request cannot be understood.",
    401: "There is no credential, or it does not work.",
    403: "The credential lacks a scope (which the detail names) or its user a role; or the CSRF token is missing.",
    404: "There is no such thing, or you may not see it.",
    406: "None of the media types that you accept can be given.",
    413: "The body is too large.",
    416: "The range lies outside of the file.",
    415: "This media type is not taken.",
    409: "The thing is in a state that does not allow this.",
    422: "The request is well formed, but not valid: `errors` names each path, and what would be right.",
    429: "Too many requests: wait as long as Retry-After says.",
    503: "A part of the server is away.",
}


class TokenScheme(OpenApiAuthenticationExtension):
    """How the document calls the token."""

    target_class = "users.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the security scheme."""
        return dict(build_bearer_security_scheme_object(header_name="Authorization", token_prefix="Bearer"))  # noqa: S106


class DashboardSessionScheme(SessionScheme):
    """How the document calls the dashboard's session."""

    target_class = "users.authentication.SessionAuthentication"
    name = "session"


class Schema(AutoSchema):
    """Describe an operation: what it demands, and the problems that it may answer with."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        """Return the operation with the scope, role and problems that follow from the view's declaration."""
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        demand = demanded(self.view, self.method)
        if demand is None:
            return None
        statuses = [406, 429]
        if not demand.public:
            statuses += [401, 403]
        elif operation.get("security"):
            operation["security"] = [{}, *(one for one in operation["security"] if one)]
        if "{" in self.path:
            statuses.append(404)
        if "requestBody" in operation:
            statuses += [400, 413, 415, 422]
        if any(parameter["in"] in {"query", "header"} for parameter in operation.get("parameters", ())):
            statuses.append(422)
        statuses += getattr(self.view, "problems", {}).get(self.method, ())
        for status in statuses:
            reference = {"$ref": f"#/components/responses/Problem{status}"}
            operation["responses"].setdefault(str(status), reference)
        if demand.scope is not None:
            operation["x-scope"] = str(demand.scope)
        if demand.lab_role is not None:
            operation["x-lab-role"] = str(demand.lab_role)
        return operation


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Add the problem document to the components."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["responses"] = {f"Problem{status}": problem(text) for status, text in _MEANINGS.items()}
    return result


def problem(description: str) -> dict[str, Any]:
    """Return the description of a response that is a problem document."""
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def api_views() -> dict[str, Any]:
    """Return every view of the API by its route, for tests that walk them."""
    found: dict[str, Any] = {}

    def walk(patterns: Any, prefix: str) -> None:
        for pattern in patterns:
            route = prefix + str(pattern.pattern)
            if hasattr(pattern, "url_patterns"):
                walk(pattern.url_patterns, route)
            elif route.startswith("api/"):
                found[route] = pattern.callback

    walk(get_resolver().url_patterns, "")
    return found
