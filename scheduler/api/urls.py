"""The routes of jobs, samples and the lab, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from . import control, estop, events, interlocks, jobs, lab, maintenance, operator, people, samples
from .people_urls import people_urls
from .planning_urls import planning_urls

urlpatterns = [
    path("jobs", jobs.Jobs.as_view()),
    path("jobs/preview", jobs.Preview.as_view()),
    path("jobs/<uuid:job_id>", jobs.JobDetail.as_view()),
    path("jobs/<uuid:job_id>/cancel", jobs.Cancel.as_view()),
    *(
        path(f"jobs/<uuid:job_id>/{verb}", control.view_of(verb))
        for verb in ("hold", "release", "pause", "resume", "stop", "abort")
    ),
    path("jobs/<uuid:job_id>/halt", control.Halt.as_view()),
    path("jobs/<uuid:job_id>/verbs", control.Verbs.as_view()),
    path("jobs/<uuid:job_id>/rerun", jobs.Rerun.as_view()),
    path("jobs/<uuid:job_id>/logs", jobs.Logs.as_view()),
    path("jobs/<uuid:job_id>/metrics", jobs.Metrics.as_view()),
    path("schemas/job", jobs.JobSchema.as_view()),
    path("events", events.Events.as_view()),
    path("modules", lab.Modules.as_view()),
    path("modules/<slug:module_id>", lab.ModuleDetail.as_view()),
    path("devices", lab.Devices.as_view()),
    path("plan", lab.Plan.as_view()),
    path("stocks", lab.Stocks.as_view()),
    path("stocks/<slug:stock_id>/refill", lab.Refill.as_view()),
    path("storage", lab.Storage.as_view()),
    path("samples", samples.Samples.as_view()),
    path("samples/<uuid:sample_id>", samples.SampleDetail.as_view()),
    path("samples/<uuid:sample_id>/collect", samples.Collect.as_view()),
    path("estop", estop.EmergencyStop.as_view()),
    path("estop/rearm", estop.Rearm.as_view()),
    path("interlocks", interlocks.Interlocks.as_view()),
    path("interlocks/<slug:interlock_id>/acknowledge", interlocks.Acknowledge.as_view()),
    path("maintenance", maintenance.Locks.as_view()),
    path("maintenance/<uuid:lock_id>/release", maintenance.Unlock.as_view()),
    path("devices/<slug:device_id>/clear", maintenance.Clear.as_view()),
    path("modules/<slug:module_id>/run", maintenance.RunByHand.as_view()),
    path("operator/attention", operator.Attention.as_view()),
    path("steps/waiting", people.HumanSteps.as_view()),
    path("steps/<uuid:step_id>", people.StepDetail.as_view()),
    path("steps/<uuid:step_id>/answer", people.AnswerStep.as_view()),
    path("steps/<uuid:step_id>/decide", operator.Decide.as_view()),
    *people_urls,
    *planning_urls,
]
