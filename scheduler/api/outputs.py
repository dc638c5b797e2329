"""What the API shows of jobs, samples, tasks, steps and events."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from octolab.labtime import moment
from scheduler import catalogue
from scheduler.jobformat.unused import warnings_of
from scheduler.models import Event, Job, Request, Sample, Step, Task
from scheduler.states import JobState, SampleState, StepState

IBM_STATUS: dict[str, str] = {
    JobState.AWAITING_APPROVAL: "Queued",
    JobState.QUEUED: "Queued",
    JobState.HELD: "Queued",
    JobState.RUNNING: "Running",
    JobState.PAUSED: "Running",
    JobState.CANCELLING: "Running",
    JobState.NEEDS_OPERATOR: "Running",
    JobState.COMPLETED: "Completed",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}
"""State → the status that users of the IBM Quantum job API know."""


@extend_schema_field(
    {
        "type": ["object", "null"],
        "properties": {
            "lab_s": {"type": "number", "description": "Lab seconds."},
            "at": {"type": ["string", "null"], "format": "date-time", "description": "The lab's date and time, UTC."},
        },
        "required": ["lab_s", "at"],
    }
)
class MomentField(serializers.Field[Any, Any, Any, Any]):
    """A moment of lab time."""

    def __init__(self, source: str | None = None, **kwargs: Any) -> None:
        super().__init__(source=source, read_only=True, **kwargs)

    def to_representation(self, value: float) -> dict[str, Any] | None:
        """Return lab seconds and date."""
        shown = moment(value)
        if shown is not None and shown["at"] is not None:
            shown["at"] = shown["at"].isoformat().replace("+00:00", "Z")
        return shown


class JobOutput(serializers.ModelSerializer[Job]):
    """A job."""

    project = serializers.CharField(source="project.slug", read_only=True)
    owner = serializers.CharField(source="owner.username", read_only=True)
    status = serializers.SerializerMethodField()
    rerun_of = serializers.UUIDField(source="rerun_of_id", read_only=True, allow_null=True)
    back_to = serializers.CharField(
        read_only=True,
        help_text="While it needs an operator: `held` or `paused` if nothing more starts, empty if the rest goes on.",
    )
    submitted = MomentField("submitted_lab_s")
    started = MomentField("started_lab_s")
    finished = MomentField("finished_lab_s")
    predicted_start = MomentField("predicted_start_lab_s")
    predicted_finish = MomentField("predicted_finish_lab_s")
    predicted_start_low = MomentField("predicted_start_low_lab_s", help_text="It starts later in nine of ten cases.")
    predicted_start_high = MomentField("predicted_start_high_lab_s", help_text="And earlier than this in nine of ten.")
    predicted_finish_low = MomentField("predicted_finish_low_lab_s", help_text="It ends later in nine of ten cases.")
    predicted_finish_high = MomentField(
        "predicted_finish_high_lab_s", help_text="And earlier than this in nine of ten."
    )

    class Meta:
        model = Job
        fields: tuple[str, ...] = (
            *("id", "name", "project", "owner", "state", "status", "state_reason", "back_to"),
            *("priority", "deadline_at", "campaign", "campaign_key", "waits_for"),
            *("simulated", "rerun_of", "submitted_at", "submitted", "started", "finished", "finished_at"),
            *("predicted_start", "predicted_start_low", "predicted_start_high"),
            *("predicted_finish", "predicted_finish_low", "predicted_finish_high"),
            *("samples_total", "samples_failed", "steps_total", "steps_done"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field({"type": "string", "enum": sorted(set(IBM_STATUS.values()))})
    def get_status(self, job: Job) -> str:
        """Return the state as users of the IBM Quantum job API know it."""
        return IBM_STATUS[job.state]


def shown_job(job: Job) -> dict[str, Any]:
    """Return what the API shows of a job. The serializer is built once: building it takes longer than using it."""
    return _job_output().to_representation(job)


@cache
def _job_output() -> JobOutput:
    return JobOutput()


class WarningOutput(serializers.Serializer[Any]):
    """What is possible, but hardly meant."""

    path = serializers.CharField(help_text="JSON pointer into the job.")
    message = serializers.CharField()


class SubmittedOutput(JobOutput):
    """A job that has just been accepted."""

    warnings = WarningOutput(many=True, read_only=True)

    class Meta(JobOutput.Meta):
        fields = (*JobOutput.Meta.fields, "warnings")
        read_only_fields = fields


def shown_warnings(spec: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what is possible in a job, but hardly meant."""
    return [{"path": warning.path, "message": warning.message} for warning in warnings_of(spec)]


class SampleOutput(serializers.ModelSerializer[Sample]):
    """A sample of a job."""

    state = serializers.ChoiceField(SampleState.choices, read_only=True)
    places = serializers.SerializerMethodField()

    class Meta:
        model = Sample
        fields: tuple[str, ...] = (
            "id",
            "index",
            "name",
            "parameters",
            "source",
            "state",
            "reason",
            "contents",
            "places",
        )
        read_only_fields: tuple[str, ...] = fields

    def get_places(self, sample: Sample) -> list[str]:
        """Return where it stands, as the lab names its places: ``vial_storage.2.6``."""
        return [catalogue.current().place_name(place.resource, place.index) for place in sample.places.all()]


class TaskOutput(serializers.ModelSerializer[Task]):
    """A task of a job."""

    samples: Any = serializers.PrimaryKeyRelatedField(many=True, read_only=True)
    results = serializers.DictField(child=serializers.JSONField(), read_only=True, allow_null=True)

    class Meta:
        model = Task
        fields = ("id", "key", "index", "module", "task", "parameters", "origins", "cleanup", "samples", "results")
        read_only_fields = fields


class StepOutput(serializers.ModelSerializer[Step]):
    """A step of a job."""

    state = serializers.ChoiceField(StepState.choices, read_only=True)
    samples = serializers.SerializerMethodField()
    planned_start = MomentField("planned_start_lab_s")
    planned_end = MomentField("planned_end_lab_s")
    started = MomentField("started_lab_s")
    ended = MomentField("ended_lab_s")

    class Meta:
        model = Step
        fields: tuple[str, ...] = (
            *("id", "index", "name", "module", "task_name", "action", "block", "dormant", "state", "reason", "attempt"),
            *("devices", "duration_s", "samples", "planned_start", "planned_end", "started", "ended"),
        )
        read_only_fields: tuple[str, ...] = fields

    @extend_schema_field(serializers.ListField(child=serializers.UUIDField()))
    def get_samples(self, step: Step) -> list[Any]:
        """Return the ids of its samples."""
        return [member.sample_id for member in step.members.all() if member.sample_id is not None]


class JobDetailOutput(JobOutput):
    """A job with its parts, as far as they were asked for."""

    spec = serializers.JSONField(read_only=True, help_text="The job as submitted; schema at `/api/v1/schemas/job`.")
    manifests = serializers.DictField(child=serializers.CharField(), read_only=True)
    samples = SampleOutput(many=True, required=False)
    tasks = TaskOutput(many=True, required=False)
    steps = StepOutput(many=True, required=False)

    class Meta(JobOutput.Meta):
        fields = (*JobOutput.Meta.fields, "spec", "manifests", "samples", "tasks", "steps")
        read_only_fields = fields


class EventOutput(serializers.ModelSerializer[Event]):
    """A change of a state."""

    moment = MomentField("lab_s")
    job = serializers.UUIDField(source="job_id", read_only=True, allow_null=True)
    project = serializers.UUIDField(source="project_id", read_only=True, allow_null=True)

    class Meta:
        model = Event
        fields = (
            *("seq", "at", "moment", "kind", "subject", "job", "project", "state_from", "state_to"),
            *("actor", "reason", "data"),
        )
        read_only_fields = fields


class WishOutput(serializers.ModelSerializer[Request]):
    """A wish that the scheduler will apply: look at the thing itself, or at the events, for what came of it."""

    class Meta:
        model = Request
        fields = ("id", "verb", "made_at", "applied_at", "refused")
        read_only_fields = fields


def listed(name: str, of: type[serializers.BaseSerializer[Any]]) -> Any:
    """Return the schema of a page of things."""
    fields: dict[str, Any] = {
        "results": of(many=True),
        "next": serializers.CharField(allow_null=True, help_text="Address of the next page; null at the end."),
    }
    return type(f"{name}Page", (serializers.Serializer,), fields)
