"""Parameters of a task as a pydantic model, and what a manifest needs of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema


def unit(text: str) -> dict[str, Any]:
    """Return what states a field's unit: ``Field(gt=0, json_schema_extra=unit("uL"))``."""
    return {"unit": text}


def parameters_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a task's parameters.

    Every number must say its unit, with ``json_schema_extra=unit("nm")``; ``unit("")`` for a plain number.

    Raises
    ------
    ValueError
        A number has no unit; the text names the field.
    """
    for name, field in model.model_fields.items():
        if _is_number(field) and not (isinstance(field.json_schema_extra, dict) and "unit" in field.json_schema_extra):
            raise ValueError(
                f"{model.__name__}.{name} is a number without a unit: "
                f'write Field(…, json_schema_extra=unit("nm")), or unit("") if it has none'
            )
    schema = model.model_json_schema(schema_generator=_WithoutTitles)
    schema.setdefault("additionalProperties", False)
    return schema


def _is_number(field: FieldInfo) -> bool:
    return field.annotation in (int, float) or any(
        kind in (int, float) for kind in getattr(field.annotation, "__args__", ())
    )


class _WithoutTitles(GenerateJsonSchema):
    """JSON Schema in which a title stands only where its author wrote one."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
