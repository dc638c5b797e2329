"""Where a sample stands before each task, and whether everybody fits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from scheduler.catalogue import Catalogue
from scheduler.jobformat.problems import Path, Problems, listed

from .offers import Offer, StepValues, find
from .workflow import Node, Workflow


@dataclass(slots=True)
class Whereabouts:
    """What is known of one sample while its workflow is followed."""

    exists: bool = False
    held: list[str] = field(default_factory=list)
    """Places it holds, in the order in which it took them; it stands in the last one."""
    ever: list[str] = field(default_factory=list)
    """Places that it held at any time."""
    settings: dict[str, float] = field(default_factory=dict)
    """``device.setting`` → value that it holds."""

    @property
    def stands(self) -> str | None:
        """The place where it stands."""
        return self.held[-1] if self.held else None


def follow(node: Node, offer: Offer, steps: Sequence[StepValues], where: Whereabouts, problems: Problems) -> None:
    """Move a sample through a task, and note why that cannot be."""
    task, path = offer.task, node.path
    if task.creates_sample:
        if where.exists:
            problems.add(path, f"`{offer.name}` makes a fresh sample, but there is one already.")
            return
        where.exists = True
    elif offer.sample_from is not None and where.stands != offer.sample_from:
        problems.add(path, _displaced(offer, where))
        # go on as if it stood there, so that one mistake is told once
        where.exists = True
        if offer.sample_from in where.held:
            where.held.remove(offer.sample_from)
        where.held.append(offer.sample_from)
    for step, values in zip(task.steps, steps, strict=True):
        if not values.repeat:
            continue
        node.moves = node.moves or bool(offer.takes[step.name] or offer.frees[step.name])
        for place in offer.takes[step.name]:
            if place in where.held:
                problems.add(path, f"`{offer.name}` needs a free place of `{place}`, but the sample holds one already.")
                continue
            where.exists = True
            where.held.append(place)
            if place not in where.ever:
                where.ever.append(place)
        for place in offer.frees[step.name]:
            if place in where.held:
                where.held.remove(place)


def _displaced(offer: Offer, where: Whereabouts) -> str:
    catalogue = offer.catalogue
    here = (
        f"stands in `{where.stands}` then"
        if where.stands
        else "does not exist yet"
        if not where.exists
        else "is nowhere"
    )
    fitting = [name for name in catalogue.task_names if _brings(find(catalogue, name), where, offer.sample_from)]
    own = [name for name in fitting if name.startswith(f"{offer.instance}.")]
    if fitting:
        hint = f" Put {listed((own or fitting)[:3])} before it."
    else:
        hint = _way(catalogue, where, offer.sample_from)
    return f"`{offer.name}` takes the sample from `{offer.sample_from}`, but it {here}.{hint}"


def _way(catalogue: Catalogue, where: Whereabouts, target: str | None) -> str:
    """Say how a sample gets to a place to which no single task brings it from where it is."""
    bringing = [name for name in catalogue.task_names if _brings_from_anywhere(find(catalogue, name), target)]
    if not bringing:
        return ""
    if where.exists:
        return f" {listed(bringing[:3])} {'brings' if len(bringing) == 1 else 'bring'} it there."
    ways = []
    for name in bringing:
        offer = find(catalogue, name)
        stands = None if offer is None else offer.sample_from
        if stands is None:
            continue
        if catalogue.places[stands].storage:
            ways.append(f"`{name}` before it, and say in `samples` where the sample stands (`from`)")
            continue
        making = [made for made in catalogue.task_names if _makes_at(find(catalogue, made), stands)]
        if making:
            ways.append(f"{listed(making[:3])} and later `{name}` before it")
    return f" Put {', or '.join(dict.fromkeys(ways[:3]))}." if ways else ""


def _brings_from_anywhere(offer: Offer | None, target: str | None) -> bool:
    return offer is not None and _brings(offer, Whereabouts(True, [offer.sample_from or ""]), target)


def _makes_at(offer: Offer | None, place: str) -> bool:
    return _brings(offer, Whereabouts(), place)


def _brings(offer: Offer | None, where: Whereabouts, target: str | None) -> bool:
    """Tell whether a task would bring a sample from where it is to the target."""
    if offer is None or offer.scope == "none":
        return False
    if offer.task.creates_sample == where.exists:
        return False
    if offer.sample_from is not None and offer.sample_from != where.stands:
        return False
    held = list(where.held)
    for step in offer.task.steps:
        held += [place for place in offer.takes[step.name] if place not in held]
        held = [place for place in held if place not in offer.frees[step.name]]
    return bool(held) and held[-1] == target and where.stands != target


def check_order(workflow: Workflow, problems: Problems) -> None:
    """Note tasks that may happen before or after another one moves the sample."""
    for mover in workflow.nodes:
        if not mover.moves:
            continue
        for other in workflow.nodes:
            if other is mover or not other.located or (other.moves and other.index < mover.index):
                continue
            if not (mover.ancestors >> other.index & 1 or other.ancestors >> mover.index & 1):
                later, earlier = (other, mover) if other.index > mover.index else (mover, other)
                problems.add(
                    (*later.path, "needs"),
                    f"`{later.key}` and `{earlier.key}` could be done at the same time, but one of them moves the "
                    f"sample. Say in `needs` which comes first.",
                )


def check_room(
    catalogue: Catalogue, path: Path, everybody: Iterable[Whereabouts], problems: Problems, moment: str
) -> None:
    """Note places and settings that cannot be held by all samples at the same moment."""
    needed: dict[str, int] = {}
    values: dict[str, set[float]] = {}
    for where in everybody:
        for place in where.held:
            needed[place] = needed.get(place, 0) + 1
        for key, value in where.settings.items():
            values.setdefault(key, set()).add(value)
    for place, count in needed.items():
        capacity = catalogue.places[place].capacity
        if count > capacity:
            problems.add(
                path,
                f"{count} samples would hold a place of `{place}` at the same time {moment}, but there are "
                f"{capacity}. Use at most {capacity} samples.",
            )
    for key, wanted in values.items():
        if len(wanted) > 1:
            shown = ", ".join(f"{value:g}" for value in sorted(wanted))
            problems.add(
                path, f"All samples wait for each other {moment}, but they hold `{key}` at different values ({shown})."
            )
