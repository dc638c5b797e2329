"""Values that come from other jobs of a campaign: waited for, in sight, until they are there.

A job that is not submitted yet is waited for like one that is not done yet. What a step waits for stands in its
``reason``. If the other job ends without the value, the samples that need it are given up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from scheduler.catalogue import Catalogue
from scheduler.generator.offers import find
from scheduler.jobformat.units import UnitError, conversion
from scheduler.models import Job, Sample, StepMember, Task
from scheduler.process.flow import Flow
from scheduler.process.live import LiveJob, LiveMember, LiveSample, Unit
from scheduler.states import JOB_FINAL, SampleState


class Campaigns:
    """Looks for values of other jobs, once a second."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self._waiting: dict[str, Unit] = {}

    def follow(self, jobs: Iterable[LiveJob]) -> None:
        """Take in new jobs: units that refer to other jobs wait."""
        for job in jobs:
            awaited = [s for s in job.samples if s.source.get("awaited") and not s.final]
            if not job.campaign and not awaited:
                continue
            for unit in job.units:
                members = unit.first.members
                if any(m.sample in awaited or any(_open(m)) for m in members if not m.task.cleanup):
                    unit.awaits = True
                    self._waiting[unit.id] = unit

    def look(self) -> None:
        """Put in what is known by now; as long as no module has said what its tasks mean, nothing is."""
        if self.flow.references.catalogue is None:
            return
        for unit in list(self._waiting.values()):
            if not unit.waiting:
                del self._waiting[unit.id]
                continue
            reasons: list[str] = []
            for member in list(unit.first.alive):
                if member.sample.source.get("awaited") and (reason := self._take_over(member.sample)):
                    reasons.append(reason)
                    continue
                for name, reference in list(_open(member)):
                    if reason := self._settle(unit, member, name, reference):
                        reasons.append(reason)
                        break
            if not unit.waiting:
                continue
            self._say(unit, reasons[0] if reasons else "")
            if not reasons:
                del self._waiting[unit.id]
                unit.awaits = False
                self.flow.plan.mark_stale()
                self.flow.grants.wake(unit)

    def _take_over(self, sample: LiveSample) -> str:
        """Take over a sample that an earlier job makes, once it is stored; return what it is waited for, or nothing."""
        if sample.final:
            return ""
        flow, earlier_id = self.flow, str(sample.source["sample"])
        row = Sample.objects.select_related("job").filter(pk=earlier_id).first()
        if row is None or row.state in (SampleState.FAILED, SampleState.CANCELLED):
            flow.failures.lose(sample, f"the sample {row.name if row else earlier_id}, which was to be taken, is lost")
            return ""
        if row.state != SampleState.COMPLETED:
            return f"waits for sample `{row.name}` of job `{row.job.name}`, which is {row.state}"
        live = flow.state.samples.get(earlier_id)
        place = next((p for p in row.places.all() if flow.state.places.is_storage(p.resource)), None)
        # The rows are as old as this turn: what another job has just taken stands in the live state alone.
        held = {} if place is None else flow.state.places.held.get(place.resource, {})
        if place is None or row.places.count() > 1 or held.get(place.index) != earlier_id:
            flow.failures.lose(sample, f"the sample {row.name} was collected, or another job has taken it")
            return ""
        if live is not None:
            live.places.pop(place.resource)
        flow.state.places.held[place.resource][place.index] = sample.id
        sample.places[place.resource] = place.index
        flow.changes.place(place.resource, place.index, earlier_id, sample.id)
        sample.contents = [dict(content) for content in row.contents]
        source = {name: value for name, value in sample.source.items() if name != "awaited"}
        sample.source = {**source, "place": place.resource, "index": place.index}
        flow.changes.touch(sample)
        stand_in = LiveSample(earlier_id, None)  # type: ignore[arg-type]
        flow.moved("freed", place.resource, place.index, live or stand_in, None)
        flow.moved("taken", place.resource, place.index, sample, None)
        return ""

    def _say(self, unit: Unit, reason: str) -> None:
        if unit.first.reason != reason:
            unit.first.reason = reason
            self.flow.changes.touch(unit.first)

    def _settle(self, unit: Unit, member: LiveMember, name: str, reference: dict[str, Any]) -> str:
        """Put in one value; return what it is waited for, or nothing."""
        key, (task_key, _, result) = reference["job"], str(reference["ref"]).partition(".")
        own = unit.job
        job = Job.objects.filter(
            project_id=own.project_id, campaign=own.campaign, campaign_key=key
        ).order_by("-id").first()  # fmt: skip
        if job is None:
            return f"waits for job `{key}` of the campaign `{own.campaign}`, which is not submitted yet"
        found, why = self._value(job, task_key, result, member)
        if found is None:
            if why or job.state in JOB_FINAL:
                self._lose(member, why or f"job `{key}` has ended ({job.state}) without `{task_key}.{result}`")
                return ""
            return f"waits for `{task_key}.{result}` of job `{key}`, which is {job.state}"
        try:
            value = self._converted(unit, member, name, found)
        except UnitError as error:
            self._lose(member, f"`{key}.{task_key}.{result}` does not fit `{name}`: {error}")
            return ""
        member.task.parameters = {**member.task.parameters, name: {**reference, "value": value}}
        member.task.origins = {
            **member.task.origins,
            name: {
                "ref": f"{key}.{reference['ref']}", "job": str(job.pk), "task": found["task"],
                "run_uid": found["run_uid"], "value": value,
            },
        }  # fmt: skip
        self.flow.changes.touch(member.task)
        return ""

    def _value(self, job: Job, task_key: str, result: str, member: LiveMember) -> tuple[dict[str, Any] | None, str]:
        """Return a value with where it comes from, or why there never will be one that is meant."""
        tasks = list(Task.objects.filter(job=job, key=task_key, cleanup=False).prefetch_related("samples"))
        if not tasks:
            return None, f"job `{job.campaign_key}` has no task `{task_key}`"
        catalogue = self.flow.references.catalogue
        offer = None if catalogue is None else find(catalogue, f"{tasks[0].module}.{tasks[0].task}")
        declared = {known.name: known for known in offer.task.results} if offer is not None else {}
        if offer is not None and (result not in declared or declared[result].dtype == "array"):
            return None, f"`{tasks[0].module}.{tasks[0].task}` has no single value `{result}`"
        rows = StepMember.objects.filter(task__in=tasks).select_related("sample").order_by("step__index")
        if rows.exclude(sample=None).exists():
            names = {row.sample.name for row in rows if row.sample is not None}
            wanted = member.sample.name if member.sample.name in names else next(iter(names))
            if len(names) > 1 and member.sample.name not in names:
                return None, f"job `{job.campaign_key}` has several samples, and none is called `{member.sample.name}`"
            rows = rows.filter(sample__name=wanted)
        for row in reversed(list(rows)):
            results = row.task.results or {}
            own = results.get(str(row.sample_id))
            value = (own if isinstance(own, dict) else results).get(result)
            if value is not None:
                unit = declared[result].unit if result in declared else ""
                return {"value": value, "unit": unit, "task": str(row.task_id), "run_uid": str(row.run_uid)}, ""
        return None, ""

    def _converted(self, unit: Unit, member: LiveMember, name: str, found: dict[str, Any]) -> Any:
        catalogue: Catalogue | None = self.flow.references.catalogue
        offer = None if catalogue is None else find(catalogue, f"{unit.first.module}.{unit.first.task_name}")
        value = found["value"]
        if offer is None or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        parameter = offer.parameters.get(name)
        if parameter is None or not parameter.numeric:
            return value
        factor, offset = conversion(found["unit"], parameter.unit)
        return value * factor + offset

    def _lose(self, member: LiveMember, reason: str) -> None:
        self.flow.failures.lose(member.sample, reason)


def _open(member: LiveMember) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the parameters whose values are to come from other jobs."""
    for name, value in member.task.parameters.items():
        if isinstance(value, dict) and "ref" in value and "job" in value and "value" not in value:
            yield name, value
