"""The workflow as a graph: which task is which, and what each waits for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from scheduler.catalogue import Catalogue, LabNotReady
from scheduler.jobformat.model import JobDocument, TaskEntry
from scheduler.jobformat.problems import Path, Problems, did_you_mean, listed
from scheduler.jobformat.units import UnitError, to_unit

from .offers import Offer, find

MAX_WAIT_S = 86_400.0
"""Longest wait before a repetition, lab seconds."""
MAX_DELAY_S = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Edge:
    """A task that must be done before, and how long before."""

    node: int
    min_s: float = 0.0
    max_s: float | None = None
    on_breach: str = "flag"


@dataclass(slots=True)
class Node:
    """One task of the workflow. ``offer`` is None if the lab has no such task."""

    index: int
    key: str
    entry: TaskEntry
    offer: Offer | None
    edges: list[Edge] = field(default_factory=list)
    ancestors: int = 0
    """Bit mask of the tasks that are certainly done before."""
    moves: bool = False
    """Whether it moves its sample; known once its parameters are."""

    @property
    def path(self) -> Path:
        """Where it stands in the document."""
        return ("workflow", self.index)

    @property
    def scope(self) -> str:
        """``none``, ``one`` or ``many``: of how many samples one of these tasks is."""
        return self.offer.scope if self.offer is not None else "one"

    @property
    def located(self) -> bool:
        """Whether it matters where the sample stands."""
        return self.moves or (self.offer is not None and self.offer.sample_from is not None)


@dataclass(slots=True)
class Workflow:
    """All tasks, and an order in which they can be done."""

    nodes: list[Node]
    order: list[Node]
    by_key: dict[str, Node]

    @property
    def takes_samples(self) -> bool:
        """Whether any task is done with samples."""
        return any(node.scope != "none" for node in self.nodes)

    def before(self, node: Node) -> Iterator[Node]:
        """Yield the tasks that are certainly done before a task."""
        return (other for other in self.nodes if node.ancestors >> other.index & 1)


def keys_of(document: JobDocument) -> list[str]:
    """Return the name of each task: as given, or the task's own with a number if that is taken."""
    taken = Counter(entry.id for entry in document.workflow if entry.id is not None)
    keys = []
    for entry in document.workflow:
        if entry.id is not None:
            keys.append(entry.id)
            continue
        base = key = entry.task.rpartition(".")[2][:50] or "task"
        number = 1
        while key in taken:
            number += 1
            key = f"{base}_{number}"
        taken[key] += 1
        keys.append(key)
    return keys


def build(document: JobDocument, catalogue: Catalogue, keys: Sequence[str], problems: Problems) -> Workflow:
    """Resolve tasks and what they wait for."""
    nodes = [
        Node(index, key, entry, _offer(entry, index, catalogue, problems))
        for index, (key, entry) in enumerate(zip(keys, document.workflow, strict=True))
    ]
    by_key: dict[str, Node] = {}
    for node in nodes:
        if node.key in by_key:
            first = by_key[node.key].index + 1
            problems.add((*node.path, "id"), f"The id `{node.key}` is taken by task {first}; give this one another.")
        by_key.setdefault(node.key, node)
    for node in nodes:
        _check_wait(node, problems)
        node.edges = _edges(node, nodes, by_key, problems)
    return Workflow(nodes, _ordered(nodes, problems), by_key)


def _offer(entry: TaskEntry, index: int, catalogue: Catalogue, problems: Problems) -> Offer | None:
    offer = find(catalogue, entry.task)
    if offer is not None:
        return offer
    path: Path = ("workflow", index, "task")
    instance, dot, task = entry.task.partition(".")
    if not dot:
        named = [name for name in catalogue.task_names if name.endswith(f".{entry.task}")]
        hint = f"Did you mean {listed(named)}?" if named else f"The lab's modules are {listed(catalogue.lab.modules)}."
        problems.add(path, f"A task is written as `module.task`. {hint}")
    elif instance not in catalogue.lab.modules:
        hint = did_you_mean(instance, catalogue.lab.modules, "The module")
        problems.add(path, f"The lab has no module `{instance}`. {hint}")
    elif instance not in catalogue.manifests:
        host = catalogue.lab.modules[instance].host
        raise LabNotReady(
            f"The module `{instance}` has not told yet what it offers: its host `{host}` is just starting, or has "
            "never run. Try again in a moment; if that does not help, have the host started."
        )
    else:
        known = [offered.name for offered in catalogue.manifests[instance].tasks]
        problems.add(path, f"The module `{instance}` has no task `{task}`. {did_you_mean(task, known, 'The task')}")
    return None


def _edges(node: Node, nodes: Sequence[Node], by_key: Mapping[str, Node], problems: Problems) -> list[Edge]:
    entry = node.entry
    if entry.needs is None:
        before = [nodes[node.index - 1].key] if node.index else []
    else:
        before = list(dict.fromkeys(entry.needs))
    after = _delays(node, "after", before, problems)
    within = _delays(node, "within", before, problems)
    edges = []
    for key in dict.fromkeys([*before, *after, *within]):
        other = by_key.get(key)
        where = "needs" if entry.needs is not None and key in entry.needs else "after" if key in after else "within"
        if other is None:
            hint = did_you_mean(key, [k for k in by_key if k != node.key], "It")
            problems.add((*node.path, where), f"There is no task `{key}` in this workflow. {hint}")
            continue
        if other is node:
            problems.add((*node.path, where), "A task cannot wait for itself.")
            continue
        min_s, max_s = after.get(key, 0.0), within.get(key)
        if max_s is not None and max_s < min_s:
            problems.add(
                (*node.path, "within"), f"`within` ({max_s:g} s) must not be shorter than `after` ({min_s:g} s)."
            )
        edges.append(Edge(other.index, min_s, max_s, entry.on_breach))
    return edges


def _check_wait(node: Node, problems: Problems) -> None:
    if node.entry.on_failure is None:
        return
    path: Path = (*node.path, "on_failure", "wait")
    try:
        if not 0 <= to_unit(node.entry.on_failure.wait, "s") <= MAX_WAIT_S:
            problems.add(path, "A wait before a repetition is at least 0 s and at most 1 day.")
    except UnitError as error:
        problems.add(path, f"{error}.")


def _delays(node: Node, name: str, before: Sequence[str], problems: Problems) -> dict[str, float]:
    """Return ``after`` or ``within`` in seconds for each task that it speaks of."""
    value = getattr(node.entry, name)
    if value is None:
        return {}
    path: Path = (*node.path, name)
    if not isinstance(value, dict) and not before:
        problems.add(path, f"`{name}` counts from the end of the tasks before, but this one waits for none.")
        return {}
    written = value if isinstance(value, dict) else dict.fromkeys(before, value)
    delays = {}
    for key, text in written.items():
        try:
            delay_s = to_unit(text, "s")
        except UnitError as error:
            problems.add((*path, key) if isinstance(value, dict) else path, f"{error}.")
            continue
        if not 0 <= delay_s <= MAX_DELAY_S:
            problems.add(path, "A time between tasks is at least 0 s and at most 366 days.")
            continue
        delays[key] = delay_s
    return delays


def _ordered(nodes: list[Node], problems: Problems) -> list[Node]:
    """Return the nodes so that each comes behind what it waits for, and note what is before what."""
    order: list[Node] = []
    done = 0
    waiting = list(nodes)
    while waiting:
        ready = [node for node in waiting if all(done >> edge.node & 1 for edge in node.edges)]
        if not ready:
            loop = _loop(waiting, nodes)
            names = " → ".join(f"`{node.key}`" for node in [*loop, loop[0]])
            problems.add((*loop[0].path, "needs"), f"These tasks wait for each other in a circle: {names}.")
            return order
        node = ready[0]
        for edge in node.edges:
            node.ancestors |= nodes[edge.node].ancestors | 1 << edge.node
        order.append(node)
        waiting.remove(node)
        done |= 1 << node.index
    return order


def _loop(waiting: list[Node], nodes: Sequence[Node]) -> list[Node]:
    left = {node.index for node in waiting}
    seen: list[int] = []
    index = waiting[0].index
    while index not in seen:
        seen.append(index)
        index = next(edge.node for edge in nodes[index].edges if edge.node in left)
    return [nodes[i] for i in seen[seen.index(index) :]]
