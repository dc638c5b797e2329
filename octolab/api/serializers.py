"""Serializers that refuse what they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.drainage import set_override
from rest_framework import serializers
from rest_framework.request import Request

from .errors import invalid

MAX_INTEGER = 2**63 - 1


class StrictSerializer(serializers.Serializer[Any]):
    """A serializer for input: a field that it does not know is an error, not noise."""

    def to_internal_value(self, data: Any) -> Any:
        """Return the validated values."""
        if isinstance(data, Mapping):
            unknown = sorted(set(data) - set(self.fields))
            if unknown:
                known = ", ".join(sorted(self.fields)) or "none"
                raise serializers.ValidationError(
                    {str(name)[:100]: [f"This is not known here. Known: {known}."] for name in unknown[:10]}
                )
        return super().to_internal_value(data)


class CommaList(serializers.Field[Any, Any, Any, Any]):
    """Several choices in one query parameter, separated by commas."""

    def __init__(self, choices: list[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices
        one = "|".join(choices)
        set_override(self, "field", {"type": "string", "pattern": f"^({one})(,({one}))*$"})

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the choices; refuse what is not one."""
        chosen = [part.strip() for part in str(data).split(",") if part.strip()]
        for part in chosen:
            if part not in self.choices:
                raise serializers.ValidationError(f"{part[:100]!r} is not one of {', '.join(self.choices)}.")
        return chosen

    def to_representation(self, value: list[str]) -> str:
        """Return the text."""
        return ",".join(value)


def query(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the validated query parameters of a request; a parameter that stands twice is refused."""
    twice = [name for name, values in request.query_params.lists() if len(values) > 1]
    if twice:
        raise invalid(*((f"?{name[:100]}", "This may be given once.") for name in twice[:10]))
    checked = serializer(data=request.query_params.dict())
    if not checked.is_valid():
        raise invalid(
            *((f"?{name}", str(message)) for name, messages in checked.errors.items() for message in messages)
        )
    return dict(checked.validated_data)


def body(serializer: type[serializers.Serializer[Any]], request: Request) -> dict[str, Any]:
    """Return the validated body of a request."""
    checked = serializer(data=request.data)
    checked.is_valid(raise_exception=True)
    return dict(checked.validated_data)
