"""What a project's jobs may use, and what of it an operator has to approve first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from django.db import transaction
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from octolab.select import Select
from users.audit import note
from users.models import LabPolicy, Project
from users.services import AccountError

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64})?$")]
"""A module, or one of its tasks as ``module.task``."""
ParameterName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){2}$")]
"""``module.task.parameter``."""
_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Range(BaseModel):
    """What a parameter may be, in the manifest's unit."""

    model_config = _STRICT
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Range:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min is above max")
        return self


class Rules(BaseModel):
    """The rules of a project. Denying goes before allowing."""

    model_config = _STRICT
    allow: tuple[Name, ...] | None = Field(None, max_length=200)
    """Modules and tasks that may be used; None for all."""
    deny: tuple[Name, ...] = Field((), max_length=200)
    ranges: dict[ParameterName, Range] = Field(default_factory=dict, max_length=200)
    approve: tuple[Name, ...] = Field((), max_length=200)
    """Jobs with these wait until an operator has approved them."""
    approve_agents: bool = False
    """Whether jobs from the token of an automatic agent wait, too."""

    def refusal(self, module: str, task: str) -> str:
        """Return why a task may not be used, or nothing."""
        name = f"{module}.{task}"
        if module in self.deny or name in self.deny:
            return f"This project may not use `{name}`."
        if self.allow is not None and module not in self.allow and name not in self.allow:
            return f"This project may not use `{name}`; it may use {', '.join(self.allow) or 'nothing'}."
        return ""

    def out_of_range(self, module: str, task: str, parameters: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield each parameter that the project may not set to its value, with the reason."""
        for key, allowed in self.ranges.items():
            of_module, of_task, name = key.split(".")
            if (of_module, of_task) != (module, task) or parameters.get(name) is None:
                continue
            said = " and ".join(
                text
                for text in (
                    "" if allowed.min is None else f"at least {allowed.min:g}",
                    "" if allowed.max is None else f"at most {allowed.max:g}",
                )
                if text
            )
            values = parameters[name] if isinstance(parameters[name], list | tuple) else [parameters[name]]
            for value in values:
                if isinstance(value, Mapping):
                    yield name, f"In this project it has to be a number of its own, {said}: a result is not known yet."
                elif not _inside(value, allowed):
                    yield name, f"In this project it has to be {said} (in the unit of the module's description)."

    def wants_approval(self, module: str, task: str) -> bool:
        """Tell whether a task has to be approved."""
        return module in self.approve or f"{module}.{task}" in self.approve


def _inside(value: Any, allowed: Range) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return False
    return (allowed.min is None or value >= allowed.min) and (allowed.max is None or value <= allowed.max)


_USUAL = Select(lambda: LabPolicy.objects.filter(pk=1).values_list("rules"))
"""It runs at every submit."""


def rules_of(project: Project) -> Rules:
    """Return the rules that hold for a project: its own, or else the lab's usual ones."""
    return Rules.model_validate(project.policy) if project.policy else usual_rules()


def usual_rules() -> Rules:
    """Return the rules of projects that have none of their own: else a job would only have to go to another project."""
    return Rules.model_validate(next((rules for (rules,) in _USUAL()), None) or {})


def checked(rules: Mapping[str, Any]) -> dict[str, Any]:
    """Return rules as they are kept, with what was said alone; raise :class:`AccountError` if one is wrong."""
    try:
        return Rules.model_validate(dict(rules)).model_dump(mode="json", exclude_unset=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise AccountError("/".join(map(str, first["loc"]))[:200] or "rules", first["msg"][:300]) from error


def set_rules(project: Project, rules: Mapping[str, Any], *, share: float | None = None) -> None:
    """Set a project's own rules, and its share of the lab if one is given; raise :class:`AccountError` if one is wrong.

    Parameters
    ----------
    rules
        Empty for the lab's usual ones.
    """
    kept = checked(rules)
    if share is not None and not (math.isfinite(share) and 0.001 <= share <= 1000):
        raise AccountError("share", "A share is a number from 0.001 to 1000; 1 is usual.")
    with transaction.atomic():
        values: dict[str, Any] = {"policy": kept}
        if share is not None:
            values["share"] = share
        Project.objects.filter(pk=project.pk).update(**values)
        note("project.rules", project.slug, project=project, **values)


def change_project(project: Project, *, name: str | None = None, shows_names: bool | None = None) -> None:
    """Change what a project's own admins may: its name, and whether the plan shows its jobs' names to everybody."""
    changes = {key: value for key, value in (("name", name), ("shows_names", shows_names)) if value is not None}
    if not changes:
        return
    with transaction.atomic():
        Project.objects.filter(pk=project.pk).update(**changes)
        note("project.change", project.slug, project=project, **changes)
