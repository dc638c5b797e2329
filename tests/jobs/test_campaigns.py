"""Jobs of a campaign that refer to each other, before the scheduler sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.jobformat.problems import JobRefused
from scheduler.models import Job
from scheduler.services.jobs import submit_job
from tests.jobs.lab import messages
from users.models import User


@pytest.fixture
def submit(open_lab: Callable[[str], None], ada: User) -> Callable[..., Job]:
    open_lab("virtual")

    def submit_(key: str | None, time: str = "10 s", **fields: Any) -> Job:
        work = {"id": "work", "task": "virtual.occupy", "with": {"time": time}}
        document = {"name": key or "job", "campaign": "series", "workflow": [work], **fields}
        if key is not None:
            document["key"] = key
        return submit_job(user=ada, document=document)[0]

    return submit_


def refused(submit: Callable[..., Job], *arguments: Any, **fields: Any) -> dict[str, str]:
    count = Job.objects.count()
    with pytest.raises(JobRefused) as error:
        submit(*arguments, **fields)
    assert Job.objects.count() == count
    return messages(error.value.problems)


def test_a_job_may_refer_to_one_that_is_not_submitted_yet(submit: Callable[..., Job]) -> None:
    job = submit("second", "$first.work.seconds")
    assert (job.campaign, job.campaign_key, job.waits_for) == ("series", "second", ["first"])
    assert job.tasks.get().parameters["time"] == {"ref": "work.seconds", "job": "first"}


def test_circles_are_refused_at_submit_however_long(submit: Callable[..., Job]) -> None:
    submit("b", "$a.work.seconds")
    submit("c", "$b.work.seconds")
    said = refused(submit, "a", "$c.work.seconds")
    assert "circle" in said["/workflow"]
    assert "`a` → `c` → `b` → `a`" in said["/workflow"]
    assert "itself" in refused(submit, "x", "$x.work.seconds")["/workflow/0/with/time"]
    submit("a", "10 s")


def test_a_circle_through_a_sample_that_is_awaited_is_refused_too(submit: Callable[..., Job]) -> None:
    made = submit("maker", "$taker.work.seconds")
    awaited = {"kind": "sample", "sample": str(made.samples.get().pk), "awaited": True}
    between = submit(None, campaign="another")
    between.samples.update(source=awaited)
    assert "circle" not in str(refused(submit, "other", "$other.work.seconds"))
    Job.objects.filter(pk=between.pk).update(campaign="series", campaign_key="between")
    said = refused(submit, "taker", "$between.work.seconds")
    assert "`taker` → `between` → `maker` → `taker`" in said["/workflow"]


def test_a_key_belongs_to_one_open_job(submit: Callable[..., Job]) -> None:
    first = submit("a")
    assert "not over" in refused(submit, "a")["/key"]
    Job.objects.filter(pk=first.pk).update(state="failed")
    assert submit("a").pk != first.pk


def test_references_need_a_campaign(submit: Callable[..., Job]) -> None:
    assert "campaign" in refused(submit, None, "$first.work.seconds", campaign=None)["/workflow/0/with/time"]
    assert "campaign" in refused(submit, "a", campaign=None)["/key"]
