"""The small arithmetic grammar of manifests.

Durations, repeats and cross-checks are text such as ``"volume / rate + 2.3"`` or
``"if(mode == 'fast', 5, 10)"``. A text is parsed by Python's own parser and accepted only if every node is on
the list below, so it is a tree of numbers, names and operators and never code:

numbers, text in quotes, true, false; parameter names; ``+ - * / // % **`` (exponent at most 8);
``< <= > >= == !=``, ``and or not``; ``min max ceil floor abs round len sum if`` as functions.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator

MAX_LENGTH = 500
_MAX_EXPONENT = 8

Value = float | int | bool | str


class ExpressionError(ValueError):
    """An expression is not in the grammar, or cannot be evaluated with the given names."""


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "ceil": math.ceil,
    "floor": math.floor,
    "abs": abs,
    "round": round,
    "len": len,
    "sum": sum,
}
_CONSTANTS: dict[str, Value] = {"true": True, "false": False}


@lru_cache(maxsize=4096)
def parse(text: str) -> ast.expr:
    """Parse an expression; raise :class:`ExpressionError` with the offending part if it is not allowed."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one has {len(text)}")
    source = text.replace("if(", "if_(").replace("if (", "if_(")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"{text!r} is not an expression") from error
    _check(tree, text)
    return tree


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.Constant(value=bool() | int() | float() | str()):
            return
        case ast.Name():
            return
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            children = [left, right]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not(), operand=operand):
            children = [operand]
        case ast.BoolOp(values=values):
            children = values
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _COMPARE for op in ops):
            children = [left, *comparators]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS or name == "if_":
            if name == "if_" and len(args) != 3:
                raise ExpressionError(f"if() takes a condition and two values: {text!r}")
            children = args
        case _:
            raise ExpressionError(f"{text!r} uses something that is not arithmetic")
    for child in children:
        _check(child, text)


def names(text: str) -> frozenset[str]:
    """Return the parameter names that an expression uses."""
    functions = set(_FUNCTIONS) | set(_CONSTANTS) | {"if_"}
    return frozenset(
        node.id for node in ast.walk(parse(text)) if isinstance(node, ast.Name) and node.id not in functions
    )


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """Evaluate an expression over parameter values.

    Raises
    ------
    ExpressionError
        If a name is unknown, a division by zero happens, or the types do not fit.
    """
    tree = parse(text)
    try:
        return _evaluate(tree, values)
    except KeyError as error:
        raise ExpressionError(f"{text!r} uses {error.args[0]!r}, which is not given") from error
    except (ZeroDivisionError, OverflowError, TypeError, ValueError) as error:
        raise ExpressionError(f"{text!r} cannot be computed: {error}") from error


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id=name):
            return values[name] if name in values else _CONSTANTS[name]
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            if not isinstance(a, int | float) or not isinstance(b, int | float):
                raise TypeError("only numbers can be combined")
            if isinstance(op, ast.Pow) and abs(b) > _MAX_EXPONENT:
                raise ValueError(f"an exponent is at most {_MAX_EXPONENT}")
            return _BINARY[type(op)](a, b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, values)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_evaluate(operand, values)
        case ast.UnaryOp(operand=operand):
            return not _evaluate(operand, values)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_evaluate(part, values) for part in parts)
        case ast.BoolOp(values=parts):
            return any(_evaluate(part, values) for part in parts)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            a = _evaluate(left, values)
            for comparison, comparator in zip(ops, comparators, strict=True):
                b = _evaluate(comparator, values)
                if not _COMPARE[type(comparison)](a, b):
                    return False
                a = b
            return True
        case ast.Call(func=ast.Name(id="if_"), args=[condition, yes, no]):
            return _evaluate(yes if _evaluate(condition, values) else no, values)
        case ast.Call(func=ast.Name(id=name), args=args):
            return _FUNCTIONS[name](*(_evaluate(arg, values) for arg in args))
    raise ExpressionError("not arithmetic")


def _validated(text: str) -> str:
    parse(text)
    return text


Expression = Annotated[str, AfterValidator(_validated)]
"""Text in the grammar, checked when a manifest is loaded."""
