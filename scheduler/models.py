"""What was asked and what was decided: the relational truth.

The web process inserts jobs with their samples, tasks and steps, and requests. Everything else in here is
written by the scheduler process alone (see :mod:`scheduler.process`).
"""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models

from octolab.ids import new_id
from users.models import Project, of_visible_projects

from .states import DeviceState, JobState, SampleState, StepState


class Leader(models.Model):
    """The one scheduler that may write. Every write transaction starts by updating this row where epoch = mine."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    epoch = models.BigIntegerField(default=0)
    holder = models.CharField(max_length=200, default="")
    renewed_at = models.DateTimeField(null=True)
    plan_version = models.BigIntegerField(default=0)
    last_event_seq = models.BigIntegerField(default=0)
    """The counter behind :attr:`Event.seq`, raised in the transaction that writes the events."""


class Manifest(models.Model):
    """A manifest as a host published it, kept by hash so that old jobs keep their meaning."""

    hash = models.CharField(primary_key=True, max_length=80)
    document = models.JSONField()
    stored_at = models.DateTimeField(auto_now_add=True)


class Module(models.Model):
    """A module instance of the lab, and the manifest that its host serves now.

    ``manage.py prepare_lab`` writes the row; the scheduler changes ``manifest`` when a host publishes another one.
    Jobs are checked against it.
    """

    id = models.CharField(primary_key=True, max_length=64)
    """Name of the instance in the lab file."""
    manifest = models.ForeignKey(Manifest, null=True, on_delete=models.PROTECT, related_name="modules")


class JobQuerySet(models.QuerySet["Job"]):
    """Jobs, filtered by who asks."""

    def visible_to(self, user: Any) -> JobQuerySet:
        """Return the jobs of the projects of which the user is a member."""
        return self.filter(of_visible_projects(user, "project__"))


class Job(models.Model):
    """What a user submitted. Its specification never changes once accepted."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="jobs")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="jobs")
    name = models.CharField(max_length=200)
    spec = models.JSONField()
    """The job as submitted, normalised; schema at ``/api/v1/schemas/job``."""
    manifests = models.JSONField(default=dict)
    """Module instance → manifest hash that it was checked against."""
    state = models.CharField(max_length=20, choices=JobState.choices, default=JobState.QUEUED)
    state_reason = models.TextField(blank=True, default="")
    priority = models.SmallIntegerField(default=0)
    """From -10 to 10; 0 is normal."""
    deadline_at = models.DateTimeField(null=True)
    simulated = models.BooleanField()
    rerun_of = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="reruns")
    idempotency_key = models.CharField(max_length=200, null=True)
    idempotency_digest = models.CharField(max_length=80, default="")
    submitted_at = models.DateTimeField()
    submitted_lab_s = models.FloatField()
    started_lab_s = models.FloatField(null=True)
    finished_lab_s = models.FloatField(null=True)
    finished_at = models.DateTimeField(null=True)
    predicted_start_lab_s = models.FloatField(null=True)
    predicted_finish_lab_s = models.FloatField(null=True)
    predicted_start_low_lab_s = models.FloatField(null=True)
    predicted_start_high_lab_s = models.FloatField(null=True)
    predicted_finish_low_lab_s = models.FloatField(null=True)
    predicted_finish_high_lab_s = models.FloatField(null=True)
    """Between low and high in four of five cases; see :class:`Prediction`."""
    samples_total = models.IntegerField(default=0)
    samples_failed = models.IntegerField(default=0)
    steps_total = models.IntegerField(default=0)
    steps_done = models.IntegerField(default=0)
    manual = models.BooleanField(default=False)
    """Run by hand by an operator: may use devices that its owner holds under a lock, and devices in quarantine."""
    ending = models.JSONField(null=True)
    """How it was asked to end: ``{"how": "cancel"|"stop"|"abort"|"halt", "actor", "reason"}``."""
    back_to = models.CharField(max_length=20, blank=True, default="")
    """What it was when it came to need an operator, and is again afterwards: held or paused, or empty."""
    weight = models.JSONField(null=True)
    """Why it stands where it does: the parts of its weight when the plan was last made."""
    campaign = models.CharField(max_length=64, blank=True, default="")
    """Name of the campaign in its project that it belongs to; empty if it stands alone."""
    expected = models.JSONField(default=list)
    """Where the next cycles of its closed loop stand in the plan: ``[cycle, start, end, devices]``, lab seconds."""
    campaign_key = models.CharField(max_length=64, blank=True, default="")
    """What other jobs of the campaign call it."""
    waits_for = models.JSONField(default=list)
    """Keys of the jobs of its campaign whose results it refers to."""
    by_agent = models.BooleanField(default=False)
    """Whether it was submitted with the token of an automatic agent."""
    placed = models.BooleanField(default=False)
    """Whether the scheduler has taken it into its plan."""

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "idempotency_key"], name="one_job_per_idempotency_key")]
        indexes = [
            models.Index(fields=["state", "id"]),
            models.Index(fields=["owner", "-id"]),
            models.Index(fields=["project", "-id"]),
            models.Index(fields=["owner", "state"]),
            models.Index(fields=["project", "state"]),
            models.Index(
                fields=["project", "campaign", "campaign_key"],
                name="jobs_of_a_campaign",
                condition=~models.Q(campaign=""),
            ),
            models.Index(fields=["id"], condition=models.Q(placed=False), name="jobs_not_placed"),
        ]


class Sample(models.Model):
    """The thing that a job makes or measures."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="samples")
    index = models.IntegerField()
    name = models.CharField(max_length=200)
    parameters = models.JSONField(default=dict)
    source = models.JSONField(default=dict)
    """Where it comes from: ``{"kind": "made"|"sample"|"loaded"|"none", …}``."""
    state = models.CharField(max_length=20, choices=SampleState.choices, default=SampleState.PLANNED)
    reason = models.TextField(blank=True, default="")
    contents = models.JSONField(default=list)
    """What went into it: ``[{"solution", "volume_ul", "stock", "lot", "step", "module", "task", "devices",
    "lab_s"}]``."""

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="one_sample_per_index")]


class Place(models.Model):
    """A place of a resource, and the sample that holds it. A sample may hold two during a transfer."""

    resource = models.CharField(max_length=130)
    index = models.IntegerField()
    sample = models.ForeignKey(Sample, null=True, on_delete=models.PROTECT, related_name="places")
    since_lab_s = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["resource", "index"], name="one_row_per_place")]


class Task(models.Model):
    """One operation of one module on one sample, or on several."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="tasks")
    key = models.CharField(max_length=100)
    """Its name in the job's workflow."""
    index = models.IntegerField()
    """Its position in the job's workflow."""
    module = models.CharField(max_length=64)
    task = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    """Values in the manifest's units; references that are not known yet stand as ``{"ref": "…"}``."""
    cleanup = models.BooleanField(default=False)
    """Whether it is dormant: done only if its sample fails, is cancelled or aborted."""
    samples: models.ManyToManyField[Sample, Any] = models.ManyToManyField(Sample, related_name="tasks")
    origins = models.JSONField(default=dict)
    """Where values come from that were references: parameter → ``{"ref", "job", "task", "run_uid", "value"}``."""
    results = models.JSONField(null=True)
    """Scalars of the last completed attempt, for references of later tasks."""


class Step(models.Model):
    """The smallest thing that is scheduled."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="steps")
    index = models.IntegerField()
    """Position in the job: first by sample, then in the order of the workflow."""
    name = models.CharField(max_length=64)
    module = models.CharField(max_length=64)
    task_name = models.CharField(max_length=64)
    action = models.CharField(max_length=64, null=True)
    """None for a standby step."""
    person = models.BooleanField(default=False)
    """Whether a person does it: it is asked for, and no order goes to a host."""
    dormant = models.BooleanField(default=False)
    """Part of a clean-up that has not been called for."""
    block = models.UUIDField()
    """Id of the first step of its block; its own if it stands alone. Blocks share one order and one claim."""
    state = models.CharField(max_length=20, choices=StepState.choices, default=StepState.WAITING)
    reason = models.TextField(blank=True, default="")
    attempt = models.IntegerField(default=0)
    failures = models.IntegerField(default=0)
    """How many of its attempts have failed."""
    not_before_lab_s = models.FloatField(default=0.0)
    """Its unit is not ordered again before; kept by the first step of a block."""
    devices = models.JSONField(default=dict)
    """Device id → ``use`` or ``still``."""
    takes = models.JSONField(default=list)
    """Resource ids of which each member's sample takes a place at the start."""
    frees = models.JSONField(default=list)
    """Resource ids of which each member's sample gives its place back at the end."""
    settings = models.JSONField(default=dict)
    """``<device id>.<setting>`` → value held during the step."""
    consumes = models.JSONField(default=dict)
    """Stock id → amount in the stock's unit."""
    adds = models.JSONField(null=True)
    """``{"solution", "volume_ul", "stock"}`` that goes into the sample."""
    needs = models.JSONField(default=list)
    """``[{"step": id, "min_s": 0.0, "max_s": null, "on_breach": "flag"}]``: lags from that step's end to this start."""
    question = models.JSONField(null=True)
    """What an operator has to decide before it may start: ``{"what": "breach", "late_s", "within_s", "after",
    "text"}``, and once that is done ``"answer"``, ``"by"`` and ``"note"``."""
    duration_s = models.FloatField()
    """Expected, lab seconds."""
    planned_start_lab_s = models.FloatField(null=True)
    planned_end_lab_s = models.FloatField(null=True)
    expected_s = models.FloatField(null=True)
    expected_low_s = models.FloatField(null=True)
    expected_high_s = models.FloatField(null=True)
    """How long it was expected to take when its order went out, lab seconds, learnt from steps of its kind; between low
    and high in four of five cases. None if its length says nothing, because somebody paused it."""
    granted_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    """Wall time until which the present attempt's order may be claimed."""
    started_lab_s = models.FloatField(null=True)
    ended_lab_s = models.FloatField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["state", "job"]), models.Index(fields=["job", "index"])]


class StepMember(models.Model):
    """One (task, sample) pair of a step."""

    step = models.ForeignKey(Step, on_delete=models.CASCADE, related_name="members")
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="step_members")
    sample = models.ForeignKey(Sample, null=True, on_delete=models.CASCADE, related_name="step_members")
    run_uid = models.UUIDField(null=True)
    """Of the last attempt."""
    ok = models.BooleanField(null=True)
    error = models.TextField(blank=True, default="")


class Prediction(models.Model):
    """When a job was to start and finish, as it was told once; kept to be compared with what happened.

    Between low and high in four of five cases. Made when the job is placed, and again when the last one is far off.
    """

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="predictions")
    made_at = models.DateTimeField()
    made_lab_s = models.FloatField()
    first = models.BooleanField()
    """Whether it was made when the job came."""
    start_low_lab_s = models.FloatField()
    start_lab_s = models.FloatField()
    start_high_lab_s = models.FloatField()
    finish_low_lab_s = models.FloatField()
    finish_lab_s = models.FloatField()
    finish_high_lab_s = models.FloatField()
    scales = models.JSONField(default=list)
    """Start to below and above, finish to below and above: what past predictions had made the ranges wider by, and then
    how wide (lab seconds) they had been."""
    void = models.BooleanField(default=False)
    """Whether a person has held or paused the job since, so that it says nothing."""


class PlanVersion(models.Model):
    """A plan as it was published: what it changed, what it was judged by, and how good it was. For audit."""

    version = models.BigIntegerField(primary_key=True)
    made_at = models.DateTimeField()
    lab_s = models.FloatField()
    method = models.CharField(max_length=20)
    """``insert``: a new job found its place; ``repair``; ``search``: the planner process found a better order."""
    steps_moved = models.IntegerField(default=0)
    steps_added = models.IntegerField(default=0)
    worst_job = models.UUIDField(null=True)
    """The job whose finish moved most to later, and by how much (lab seconds)."""
    worst_shift_s = models.FloatField(default=0)
    objective = models.JSONField(default=list)
    """The tuple that plans are compared by; see :mod:`scheduler.planning.objective`. Times in lab seconds."""
    bound_s = models.FloatField(null=True)
    """Proven lower bound of its weighted flow, lab seconds."""
    gap = models.FloatField(null=True)
    weights = models.JSONField(default=dict)
    """Job id → weight, as the plan used it."""


class Device(models.Model):
    """A device's state as decided by the scheduler."""

    id = models.CharField(primary_key=True, max_length=64)
    title = models.CharField(max_length=200, default="")
    host = models.CharField(max_length=64)
    modules = models.JSONField(default=list)
    state = models.CharField(max_length=20, choices=DeviceState.choices, default=DeviceState.OFFLINE)
    reason = models.TextField(blank=True, default="")
    attempt_id = models.CharField(max_length=64, blank=True, default="")
    """The attempt that owns it, or that left it unknown."""
    quarantine = models.TextField(blank=True, default="")
    """Why nobody may use it until an operator has looked at it."""
    since_at = models.DateTimeField(null=True)


class MaintenanceLock(models.Model):
    """Somebody works on a device, or on the devices of a module: nobody else's steps start on them."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    """That of the request that asked for it."""
    kind = models.CharField(max_length=10)
    """``device`` or ``module``."""
    target = models.CharField(max_length=64)
    holder = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    since_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    released_at = models.DateTimeField(null=True)
    released_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "target"], condition=models.Q(released_at=None), name="one_open_lock_per_target"
            )
        ]


class Interlock(models.Model):
    """An interlock of the lab file that has tripped at least once, as it is now."""

    id = models.CharField(primary_key=True, max_length=64)
    tripped = models.BooleanField()
    value = models.JSONField(null=True)
    """The reading at the last trip or clear."""
    serial = models.BigIntegerField()
    since_at = models.DateTimeField()
    acknowledged_by = models.CharField(max_length=150, blank=True, default="")
    """Who has said that they have seen the last trip or clear."""
    acknowledged_at = models.DateTimeField(null=True)
    note = models.TextField(blank=True, default="")


class Stock(models.Model):
    """A consumable: what is there, and what accepted jobs still need of it."""

    id = models.CharField(primary_key=True, max_length=64)
    title = models.CharField(max_length=200, default="")
    unit = models.CharField(max_length=20)
    level = models.FloatField()
    reserved = models.FloatField(default=0)
    warn_below = models.FloatField(default=0)
    solution = models.CharField(max_length=100, null=True)
    concentration = models.CharField(max_length=50, null=True)
    lot = models.CharField(max_length=100, blank=True, default="")


class Request(models.Model):
    """A wish that a person expressed through the web; the scheduler applies it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    verb = models.CharField(max_length=40)
    """``cancel``, ``decide``, ``refill``, ``change``, ``collect``, …; see :mod:`scheduler.requests`."""
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    job = models.ForeignKey(Job, null=True, on_delete=models.CASCADE, related_name="requests")
    payload = models.JSONField(default=dict)
    made_at = models.DateTimeField(auto_now_add=True)
    applied_at = models.DateTimeField(null=True, db_index=True)
    refused = models.TextField(blank=True, default="")
    """Why it was not applied, if it was not."""


class Event(models.Model):
    """The append-only log: each change of a state, in the order of ``seq`` without gaps."""

    seq = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    lab_s = models.FloatField()
    kind = models.CharField(max_length=40)
    """``job``, ``sample``, ``place``, ``step``, ``device``, ``stock``, ``plan``, ``attempt``, ``request``."""
    subject = models.CharField(max_length=80)
    """Id of what changed."""
    job = models.ForeignKey(Job, null=True, on_delete=models.CASCADE, related_name="events")
    project = models.ForeignKey(Project, null=True, on_delete=models.CASCADE, related_name="+")
    state_from = models.CharField(max_length=20, blank=True, default="")
    state_to = models.CharField(max_length=20, blank=True, default="")
    actor = models.CharField(max_length=150, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    data = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["job", "seq"])]


from .accounting.models import RecentUse, Usage  # noqa: E402, F401 - Django looks for models here
