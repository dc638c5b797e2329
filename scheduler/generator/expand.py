"""From a job document to samples, tasks and steps; finds on the way whatever cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any
from uuid import UUID

from modules.contract import manifest as contract
from modules.contract.arithmetic import ExpressionError
from octolab.ids import derived_id
from scheduler.catalogue import Catalogue
from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.problems import Path, Problems

from .contents import Bench
from .offers import Offer, StepValues, find
from .origins import Earlier, Origins, Sample
from .parameters import Resolved, Resolver
from .rows import Expansion, StepRow, TaskRow
from .whereabouts import check_order, check_room, follow
from .workflow import Node, Workflow, build

MAX_STEPS = 20_000
ENDS = "ends "
"""What the keys of tasks begin with that switch a setting off; the setting follows."""

_ONCE = StepValues(0.0, 1, None, {}, {}, None, 0.0, None)


class Expander:
    """Expands one job.

    Parameters
    ----------
    earlier
        Samples of earlier jobs that this one may take over, by id.
    problems
        Gets whatever is wrong; the expansion is of use only if there is nothing.
    """

    def __init__(
        self,
        document: JobDocument,
        catalogue: Catalogue,
        job_id: UUID,
        keys: Sequence[str],
        problems: Problems,
        earlier: Mapping[UUID, Earlier],
        *,
        by_hand: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._problems = problems
        self._by_hand = by_hand
        self._out = Expansion(job_id)
        noted = problems.noted
        self._workflow: Workflow = build(document, catalogue, keys, problems)
        self._resolver = Resolver(
            self._workflow, document.parameters, problems, document.campaign or "", document.key or ""
        )
        self._bench = Bench(catalogue, problems)
        # where tasks or their order are unknown, nobody can tell where the samples are
        self._lost = problems.noted > noted
        self._tails: dict[tuple[int, int | None], tuple[UUID, ...]] = {}
        origins = Origins(catalogue, job_id, earlier, problems)
        self._samples = origins.samples(document, self._workflow)
        self._lost = self._lost or origins.lost
        if len(self._samples) * len(self._workflow.nodes) > MAX_STEPS:
            self._refuse_size()
            self._samples = self._samples[:1]

    def expand(self) -> Expansion:
        """Return all rows."""
        groups = [(scope, list(nodes)) for scope, nodes in groupby(self._workflow.order, key=lambda node: node.scope)]
        for scope, nodes in groups:
            if scope != "one":
                for node in nodes:
                    self._together(node)
                continue
            for sample in self._samples:
                for node in nodes:
                    self._task(node, [sample])
                if nodes is groups[-1][1]:
                    self._put_away(sample)
        if not self._lost:
            check_order(self._workflow, self._problems)
        for sample in self._samples:
            self._put_away(sample)
        self._prepare_cleanup()
        self._out.samples = [sample.row for sample in self._samples]
        self._out.waits_for = tuple(sorted(self._resolver.waits_for))
        self._out.modules = tuple(dict.fromkeys(task.module for task in self._out.tasks))
        for index, step in enumerate(self._out.steps):
            step.index = index
        return self._out

    # --- tasks

    def _together(self, node: Node) -> None:
        """Do a task once for the job, or once for all samples."""
        self._task(node, self._samples if node.scope == "many" else [])
        if not self._lost and self._samples:
            moment = f"at `{node.key}`, which is done once for all samples"
            check_room(self._catalogue, node.path, (s.where for s in self._samples), self._problems, moment)

    def _task(self, node: Node, samples: Sequence[Sample]) -> None:
        if node.offer is None:
            return
        if node.offer.task.name in node.offer.manifest.endings and not self._by_hand:
            self._problems.add((*node.path, "task"), f"`{node.offer.name}` is done by itself; leave it out.")
        resolved = self._resolved(node, samples)
        steps = self._evaluated(node, node.offer, resolved)
        if steps is None:
            self._lost = True
        if self._lost or steps is None:
            return
        for sample in samples:
            follow(node, node.offer, steps, sample.where, self._problems)
        if resolved is None or len(self._out.steps) > MAX_STEPS:
            return
        single = samples[0].row.index if node.scope == "one" else None
        task = self._task_row(node.key, node.index, node.offer, resolved.values, samples)
        needs = list(self._needs(node, single))
        ids = self._steps(task, node.offer, resolved, steps, samples, needs, node.path)
        self._tails[node.index, single] = (ids[-1],) if ids else tuple(UUID(need["step"]) for need in needs)
        if len(self._out.steps) > MAX_STEPS:
            self._refuse_size()

    def _refuse_size(self) -> None:
        self._problems.add(
            ("workflow",), f"The job has more than {MAX_STEPS} steps; split it into several jobs with fewer samples."
        )

    def _resolved(self, node: Node, samples: Sequence[Sample]) -> Resolved | None:
        if node.scope != "many":
            return self._resolver.resolve(node, samples[0].spec.parameters if samples else {})
        all_resolved = [self._resolver.resolve(node, sample.spec.parameters) for sample in samples]
        if any(resolved != all_resolved[0] for resolved in all_resolved):
            self._problems.add(
                (*node.path, "with"), "This task is done once for all samples, so its parameters must not differ."
            )
        return all_resolved[0] if all_resolved else None

    def _evaluated(self, node: Node, offer: Offer, resolved: Resolved | None) -> Sequence[StepValues] | None:
        """Return the values of all steps; None if it is not even known which steps are done."""
        if resolved is not None:
            try:
                offer.evaluated(resolved.greatest)
                return offer.evaluated(resolved.expected)
            except ExpressionError as error:
                self._problems.add((*node.path, "with"), f"These values cannot be used: {error}.")
        if all(step.repeat == "1" for step in offer.task.steps):
            return [_ONCE] * len(offer.task.steps)
        return None

    def _needs(self, node: Node, sample: int | None) -> Iterator[dict[str, Any]]:
        for edge in node.edges:
            before = self._workflow.nodes[edge.node]
            if before.scope != "one":
                tails = self._tails.get((before.index, None), ())
            elif sample is not None:
                tails = self._tails.get((before.index, sample), ())
            else:
                tails = tuple(t for s in self._samples for t in self._tails.get((before.index, s.row.index), ()))
            for tail in tails:
                yield _need(tail, edge.min_s, edge.max_s, edge.on_breach)

    # --- rows

    def _task_row(
        self,
        key: str,
        index: int,
        offer: Offer,
        parameters: dict[str, Any],
        samples: Sequence[Sample],
        cleanup: bool = False,
    ) -> TaskRow:
        whose = samples[0].row.index if len(samples) == 1 and offer.scope == "one" else "all"
        kind = "cleanup" if cleanup else "task"
        row_id = derived_id(self._out.job_id, f"{kind}/{key}/{whose}")
        row = TaskRow(
            row_id, key, index, offer.instance, offer.task.name, parameters, cleanup, [s.row for s in samples]
        )
        self._out.tasks.append(row)
        return row

    def _steps(
        self,
        task: TaskRow,
        offer: Offer,
        resolved: Resolved,
        values: Sequence[StepValues],
        samples: Sequence[Sample],
        needs: list[dict[str, Any]],
        path: Path,
    ) -> list[UUID]:
        """Append the task's steps; return their ids."""
        ids: list[UUID] = []
        previous: StepRow | None = None
        within_s: float | None = None
        most = offer.evaluated(resolved.greatest)
        for step, found, reserved in zip(offer.task.steps, values, most, strict=True):
            devices = offer.device_ids(step, resolved.expected)
            for device in devices.keys() - self._catalogue.devices:
                self._problems.add(
                    path, f"`{offer.name}` uses the device `{device}`, which the lab file does not define."
                )
            for number in range(found.repeat):
                row = StepRow(
                    id=derived_id(task.id, f"{step.name}/{number}"),
                    name=step.name,
                    module=offer.instance,
                    task_name=offer.task.name,
                    action=step.action,
                    person=offer.task.person and step.action is not None,
                    dormant=task.cleanup,
                    block=task.id,
                    devices=devices,
                    takes=list(offer.takes[step.name]),
                    frees=list(offer.frees[step.name]),
                    settings=_settings(offer, step, found, samples),
                    consumes=self._bench.consumption(offer, reserved, path),
                    adds=self._bench.addition(offer, reserved, path),
                    needs=needs if previous is None else [_need(previous.id, 0.0, within_s, "flag")],
                    duration_s=found.duration_s,
                    task=task,
                )
                joined = (
                    previous is not None and within_s == 0 and step.action is not None and previous.action is not None
                )
                row.block = previous.block if previous is not None and joined else row.id
                for sample in samples:
                    sample.volume_ul += reserved.volume_ul
                    self._bench.check_volume(offer, sample.volume_ul, sample.row.name, path)
                self._out.steps.append(row)
                ids.append(row.id)
                previous, within_s = row, found.next_within_s
        return ids

    # --- the end

    def _prepare_cleanup(self) -> None:
        """Prepare what is done with each sample if something goes wrong."""
        for sample in self._samples:
            if sample.row.source["kind"] == "made" and not sample.where.exists:
                sample.row.source = {"kind": "none"}
        if self._problems:
            return
        check_room(
            self._catalogue, ("samples",), (sample.where for sample in self._samples), self._problems, "at the end"
        )
        for sample in self._samples:
            self._prepare_endings(sample)
            for place in reversed(sample.where.ever):
                offer = self._offer(self._catalogue.places[place].cleanup(self._instances))
                if offer is not None:
                    self._extra_task(f"cleanup_{place}"[:100], 1000, offer, sample, [], (), cleanup=True)

    def _prepare_endings(self, sample: Sample) -> None:
        """Prepare what switches off the settings that a sample holds: one for each, because each may be the last."""
        for key in sample.where.settings:
            offer = self._offer(self._endings.get(key))
            if offer is not None:
                row_id = derived_id(self._out.job_id, f"ending/{key}/{sample.row.index}")
                task = TaskRow(row_id, f"{ENDS}{key}"[:100], 1000, offer.instance, offer.task.name, {}, True, [])
                self._out.tasks.append(task)
                resolved = Resolved(offer.defaults, offer.defaults, offer.defaults)
                self._steps(task, offer, resolved, offer.evaluated(resolved.expected), [], [], ("workflow",))

    @cached_property
    def _endings(self) -> dict[str, str]:
        """Return ``device.setting`` → ``module.task`` that ends it, for the modules that the workflow uses."""
        found: dict[str, str] = {}
        for instance in self._instances:
            for local, device in self._catalogue.manifests[instance].devices.items():
                for name, setting in device.settings.items():
                    for device_id in self._catalogue.lab.device_ids(instance, local):
                        if setting.ends_with is not None:
                            found.setdefault(f"{device_id}.{name}", f"{instance}.{setting.ends_with}")
        return found

    def _put_away(self, sample: Sample) -> None:
        """Store a sample that stands in a working place when its workflow is over."""
        if self._problems or self._lost:
            return
        path: Path = ("workflow", len(self._workflow.nodes) - 1)
        needs = [_need(tail, 0.0, None, "flag") for tail in self._sinks(sample)]
        held = sample.where.held
        for number in range(10):
            stands = next((place for place in reversed(held) if not self._catalogue.places[place].storage), None)
            if stands is None:
                return
            offer = self._offer(self._catalogue.places[stands].put_away(self._instances))
            before = list(held)
            if offer is not None:
                for step in offer.task.steps:
                    for place in offer.frees[step.name]:
                        if place in held:
                            held.remove(place)
            if offer is None or held == before:
                self._problems.add(
                    path,
                    f"Sample `{sample.row.name}` would stay in `{stands}` at the end. Add a task that brings it to "
                    f"where samples are stored.",
                )
                return
            index = len(self._workflow.nodes) + number
            needs = self._extra_task(f"end_{offer.task.name}", index, offer, sample, needs, path)

    @property
    def _instances(self) -> dict[str, None]:
        """The modules that the workflow uses, in its order."""
        return dict.fromkeys(node.offer.instance for node in self._workflow.nodes if node.offer is not None)

    def _offer(self, name: str | None) -> Offer | None:
        return None if name is None else find(self._catalogue, name)

    def _extra_task(
        self,
        key: str,
        index: int,
        offer: Offer,
        sample: Sample,
        needs: list[dict[str, Any]],
        path: Path,
        *,
        cleanup: bool = False,
    ) -> list[dict[str, Any]]:
        """Append a task that the workflow does not name; return what the next one needs."""
        resolved = Resolved(offer.defaults, offer.defaults, offer.defaults)
        task = self._task_row(key, index, offer, resolved.values, [sample], cleanup)
        try:
            values = offer.evaluated(resolved.expected)
        except ExpressionError as error:
            self._problems.add(path, f"`{offer.name}` cannot be planned: {error}.")
            return needs
        ids = self._steps(task, offer, resolved, values, [sample], needs, path)
        return [_need(ids[-1], 0.0, None, "flag")] if ids else needs

    def _sinks(self, sample: Sample) -> Iterator[UUID]:
        """Yield the last steps of the tasks that no other one waits for."""
        awaited = {edge.node for node in self._workflow.nodes for edge in node.edges}
        for node in self._workflow.nodes:
            if node.index not in awaited:
                yield from self._tails.get((node.index, sample.row.index if node.scope == "one" else None), ())


def _need(step: UUID, min_s: float, max_s: float | None, on_breach: str) -> dict[str, Any]:
    return {"step": str(step), "min_s": min_s, "max_s": max_s, "on_breach": on_breach}


def _settings(offer: Offer, step: contract.Step, values: StepValues, samples: Sequence[Sample]) -> dict[str, float]:
    """Return what the step sets, and what its samples hold already."""
    settings: dict[str, float] = {}
    for key in step.keeps:
        for device_key in _device_keys(offer, key):
            for sample in samples:
                if device_key in sample.where.settings:
                    settings[device_key] = sample.where.settings[device_key]
    for key, value in values.settings.items():
        for device_key in _device_keys(offer, key):
            settings[device_key] = value
    for sample in samples:
        sample.where.settings |= settings
    return settings


def _device_keys(offer: Offer, key: str) -> list[str]:
    local, _, setting = key.partition(".")
    return [f"{device}.{setting}" for device in offer.catalogue.lab.device_ids(offer.instance, local)]
