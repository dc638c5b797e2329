"""URLs of the pages."""

from __future__ import annotations

from allauth.account.views import login
from django.contrib.auth import views as auth_views
from django.urls import path

from . import (
    account,
    bundle,
    compare,
    control,
    estop,
    job,
    jobs,
    lab,
    maintenance,
    notices,
    operator,
    questions,
    samples,
    submit,
)
from .people_urls import people_urls
from .planning_urls import planning_urls

urlpatterns = [
    path("", lab.lab, name="lab"),
    path("lab/<slug:part>", lab.lab_part, name="lab-part"),
    path("jobs", jobs.jobs, name="jobs"),
    path("jobs/new", submit.submit, name="submit"),
    path("jobs/new/draft", submit.draft, name="submit-draft"),
    path("jobs/compare", compare.compare, name="compare"),
    path("jobs/<uuid:job_id>", job.job, name="job"),
    path("jobs/<uuid:job_id>/everything.zip", bundle.everything, name="job-everything"),
    path("jobs/<uuid:job_id>/part/<slug:part>", job.job_part, name="job-part"),
    path("jobs/<uuid:job_id>/again", control.again, name="job-again"),
    path("jobs/<uuid:job_id>/control", control.job_control, name="job-control"),
    path("examples/<slug:name>", submit.example, name="example"),
    path("samples/<uuid:sample_id>", samples.sample, name="sample"),
    path("steps/<uuid:step_id>", questions.page, name="step"),
    path("steps/<uuid:step_id>/answer", questions.answer, name="step-answer"),
    path("operator", operator.desk, name="operator"),
    path("operator/lock", maintenance.lock, name="operator-lock"),
    path("operator/locks/<uuid:lock_id>/release", maintenance.unlock, name="operator-unlock"),
    path("operator/devices/<slug:device_id>/clear", maintenance.clear, name="operator-clear"),
    path("operator/interlocks/<slug:interlock_id>/acknowledge", maintenance.acknowledge, name="operator-acknowledge"),
    path("operator/run", maintenance.run, name="operator-run"),
    path("operator/part/<slug:part>", operator.desk_part, name="operator-part"),
    path("operator/steps/<uuid:step_id>/decide", operator.decide, name="operator-decide"),
    path("operator/stocks/<slug:stock_id>/refill", operator.refill, name="operator-refill"),
    path("operator/samples/<uuid:sample_id>/collect", operator.collect, name="operator-collect"),
    path("estop", estop.page, name="estop"),
    path("estop/state", estop.state, name="estop-state"),
    path("notices", notices.banner, name="notices"),
    path("asked", questions.asked, name="asked"),
    path("estop/rearm", estop.rearm, name="estop-rearm"),
    path("account", account.account, name="account"),
    path("account/tokens", account.new_token, name="account-token"),
    path("account/tokens/<str:pk>/revoke", account.revoke_token, name="account-revoke"),
    path("account/channels", account.new_channel, name="account-channel"),
    path("account/channels/<uuid:pk>/test", account.test_channel, name="account-channel-test"),
    path("account/channels/<uuid:pk>/delete", account.delete_channel, name="account-channel-delete"),
    path("login", login, name="login"),
    path("logout", auth_views.LogoutView.as_view(), name="logout"),
    *people_urls,
    *planning_urls,
]
