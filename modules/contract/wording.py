"""What is wrong with data that people wrote, in sentences for them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

Location = tuple[str | int, ...]

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
DOTTED_PATTERN = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"

_PATTERNS = {
    NAME_PATTERN: "lower-case letters, digits and underscores, with a letter first, such as 'uv_vis'",
    DOTTED_PATTERN: "written like 'package.module:Class'",
    r"^[A-Za-z_][\w.]*$": "the name of a package as it is imported, such as 'our_furnace'",
    r"^=?[a-z][a-z0-9_]{0,62}$": "the name of a device, or '=parameter' for the one that the job names",
    r"^[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}$": "written like 'hotplate.temperature_degc'",
}
_KINDS = {
    "int_": "a whole number",
    "float_": "a number",
    "bool_": "true or false",
    "string_type": "a text",
}
_LONGEST = 60


class MisplacedError(ValueError):
    """Something is wrong at one place of what is checked as a whole."""

    def __init__(self, text: str, *location: str | int) -> None:
        super().__init__(text)
        self.location = location


def near(name: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'arm'?"``, or else what there is."""
    names = sorted(set(known))
    if found := difflib.get_close_matches(name, names, 1, 0.6):
        return f"; did you mean {found[0]!r}?"
    if not names:
        return "; there is none"
    if len(names) > 12:
        return ""
    return f"; there {'is' if len(names) == 1 else 'are'} {', '.join(map(repr, names))}"


def sentences(error: ValidationError, model: type[BaseModel], data: Any = None) -> list[tuple[Location, str]]:
    """Return where each mistake is, and a sentence that says what would be right.

    Parameters
    ----------
    error
        What pydantic found.
    model
        What the data should have been.
    data
        What was checked, if it was plain data: it tells keys and indices from pydantic's names of alternatives.
    """
    found: dict[Location, str] = {}
    for problem in error.errors(include_url=False):
        location = _real(problem["loc"], data, problem["type"])
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, MisplacedError):
            location = (*location, *cause.location)
        found.setdefault(location, _sentence(problem, location, model))
    return list(found.items())


def _real(location: Location, data: Any, kind: str) -> Location:
    """Leave out of a location what is only pydantic's name of an alternative."""
    if data is None:
        return tuple(part for part in location if isinstance(part, int) or not set(part) & set("[]-,"))
    real: list[str | int] = []
    for number, part in enumerate(location, start=1):
        if _has(data, part):
            data = data[part]
        elif kind != "missing" or number < len(location):
            continue
        real.append(part)
    return tuple(real)


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, Sequence) and isinstance(part, int) and part < len(data)


def _sentence(problem: Mapping[str, Any], location: Location, model: type[BaseModel]) -> str:
    kind, given, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    last = str(location[-1]) if location else ""
    match kind:
        case "extra_forbidden":
            return f"there is no key {last!r} here{near(last, _keys(model, location[:-1]))}"
        case "missing":
            unknown = set(given) - _keys(model, location[:-1]) if isinstance(given, Mapping) else set()
            meant = difflib.get_close_matches(last, map(str, unknown), 1, 0.6)
            return f"{last!r} is missing" + (f"; is {meant[0]!r} meant to be it?" if meant else "")
        case "string_pattern_mismatch":
            right = _PATTERNS.get(context["pattern"], f"of the form {context['pattern']}")
            return f"must be {right}, not {_short(given)}"
        case "literal_error":
            expected = [word.strip("' ") for word in context["expected"].replace(" or ", ",").split(",")]
            hint = near(given, expected) if isinstance(given, str) else ""
            return f"must be {context['expected']}, not {_short(given)}{hint if 'mean' in hint else ''}"
        case "value_error":
            return str(context.get("error", problem["msg"]))
        case "too_short" | "too_long" | "string_too_short" | "string_too_long":
            return str(problem["msg"])
        case "model_type" | "dict_type":
            return f"must be a table of keys and values, not {_short(given)}"
        case "tuple_type" | "list_type":
            tables = last and isinstance(given, Mapping)
            return f"must be a list: write [[{last}]]" if tables else f"must be a list, not {_short(given)}"
    plain = next((text for start, text in _KINDS.items() if kind.startswith(start)), "")
    what = plain or str(problem["msg"]).removeprefix("Input should be ").removeprefix("a valid ")
    return f"must be {what}, not {_short(given)}"


def _short(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _keys(model: type[BaseModel], location: Location) -> set[str]:
    """Return the keys that a table at some place may have."""
    for part in location:
        field = model.model_fields.get(str(part))
        model = (_model_in(field.annotation) if field is not None else None) or model
    return set(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
