"""Reading by prepared statement, for queries that run again and again: composing one takes longer than running it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Model, QuerySet

_ONE_KEY = "IN (%s)"


class _Composed(NamedTuple):
    statement: str
    fixed: tuple[Any, ...]
    prepare: Callable[[Any], Any]
    converters: tuple[tuple[int, Sequence[Callable[[Any, Any, Any], Any]], Any], ...]


class Select:
    """A query of values whose SQL is composed once.

    Parameters
    ----------
    query
        Makes the query, a ``values_list`` of fields; called at the first use.
    by
        The field whose values each call gives; None if a call gives none.

    Examples
    --------
    >>> names = Select(lambda: Job.objects.order_by("id").values_list("id", "name"), by="id")
    >>> names([first, second])
    """

    def __init__(self, query: Callable[[], QuerySet[Any, Any]], *, by: str | None = None) -> None:
        self._query = query
        self._by = by

    def __call__(self, keys: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows whose field is one of the keys."""
        if self._by is not None and not keys:
            return []
        statement, fixed, prepare, converters = self._composed
        if self._by is not None:
            statement = statement.replace(_ONE_KEY, f"IN ({', '.join(['%s'] * len(keys))})")
        with connection.cursor() as cursor:
            cursor.execute(statement, [*fixed, *map(prepare, keys)])
            return [_converted(row, converters) for row in cursor.fetchall()]

    @cached_property
    def _composed(self) -> _Composed:
        query = self._query()
        prepare: Callable[[Any], Any] = _same
        if self._by is not None:
            target = _field(query.model, self._by)
            prepare = partial(target.get_db_prep_value, connection=connection)
            # Any key makes the place for those to come.
            query = query.filter(**{f"{self._by}__in": [target.get_default() or "0"]})
        compiler = query.query.get_compiler(connection=connection)
        statement, params = compiler.as_sql()
        if self._by is not None:
            if statement.count(_ONE_KEY) != 1:
                raise ValueError(f"this query cannot be composed once: {statement}")
            params = params[:-1]
        shown = [column[0] for column in compiler.select[: compiler.col_count]]
        found = compiler.get_converters(shown)
        converters = tuple((place, functions, expression) for place, (functions, expression) in found.items())
        return _Composed(statement, tuple(params), prepare, converters)


def _field(model: type[Model], path: str) -> Any:
    """Return the field at a path such as ``step__job``; for a foreign key that which it points at."""
    for name in path.split("__"):
        field: Any = model._meta.get_field(name)
        model = field.related_model
    return getattr(field, "target_field", field)


def _same(value: Any) -> Any:
    return value


def _converted(row: Sequence[Any], converters: Sequence[tuple[int, Any, Any]]) -> tuple[Any, ...]:
    values = list(row)
    for place, functions, expression in converters:
        for convert in functions:
            values[place] = convert(values[place], expression, connection)
    return tuple(values)
