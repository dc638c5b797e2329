"""Who is told what."""

from __future__ import annotations

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext, override_settings
from hypothesis import given
from hypothesis import strategies as st

from notifications.models import Channel, Notification
from notifications.outbox import Happening, enqueue, enqueue_many, harmless
from scheduler.models import Job
from tests.analysis.measured import make_job
from users.models import Membership, User


def add_channel(user: User, *events: str, enabled: bool = True) -> Channel:
    return Channel.objects.create(user=user, name="c", url="json://example.org/", events=list(events), enabled=enabled)


def test_the_owner_is_told_on_the_channels_that_want_it(ann: User, bob: User, job: Job) -> None:
    wanted = [add_channel(ann), add_channel(ann, "failed", "cancelled")]
    add_channel(ann, "finished")
    add_channel(ann, enabled=False)
    add_channel(bob)
    assert enqueue("failed", job) == 2
    assert {n.channel_id for n in Notification.objects.all()} == {channel.pk for channel in wanted}


def test_recipients_are_told_while_they_are_members(ann: User, bob: User, job: Job) -> None:
    add_channel(bob)
    Job.objects.filter(pk=job.pk).update(spec={"recipients": ["bob", "nobody"]})
    assert enqueue("finished", job) == 0, "bob is no member"
    Membership.objects.create(user=bob, project=job.project, role="viewer")
    assert enqueue("finished", job) == 1
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert enqueue("finished", job) == 0


def test_a_member_who_is_not_named_is_not_told(ann: User, bob: User, job: Job) -> None:
    add_channel(bob)
    Membership.objects.create(user=bob, project=job.project, role="member")
    assert enqueue("finished", job) == 0


@override_settings(PUBLIC_URL="https://lab.example.org")
def test_the_message_says_what_happened_and_where_to_look(ann: User) -> None:
    job = make_job(ann, name="Silver 3", samples=0)
    Job.objects.filter(pk=job.pk).update(samples_total=6, samples_failed=2)
    add_channel(ann)
    enqueue("needs_operator", job, reason="arm: no answer")
    notification = Notification.objects.get()
    assert notification.title == "Job «Silver 3» needs an operator (simulated)"
    assert notification.body == (f"arm: no answer\n2 of 6 samples failed.\nhttps://lab.example.org/jobs/{job.pk}")


def test_messages_vanish_with_their_transaction(ann: User, job: Job) -> None:
    add_channel(ann)
    with pytest.raises(ZeroDivisionError), transaction.atomic():  # noqa: PT012
        enqueue("finished", job)
        raise ZeroDivisionError
    assert not Notification.objects.exists()


def test_many_jobs_cost_no_more_queries_than_one(ann: User) -> None:
    add_channel(ann)
    jobs = [make_job(ann, samples=0) for _ in range(20)]
    with CaptureQueriesContext(connection) as few:
        enqueue_many([Happening("finished", jobs[0].pk)])
    with CaptureQueriesContext(connection) as many:
        assert enqueue_many(Happening("finished", job.pk) for job in jobs) == 20
    assert len(many) == len(few)
    assert enqueue_many([]) == 0


@given(text=st.text() | st.sampled_from(["<!channel>", "@everyone", "[x](http://evil)", "a\nb", "<b>|&`"]))
def test_names_cannot_mention_link_or_break_lines(text: str) -> None:
    line = harmless(text)
    assert not set(line) & set("<>@[]|`&\n\r\0\u202e")
    assert "://" not in line


def test_a_long_name_leaves_room_for_what_happened(ann: User) -> None:
    job = make_job(ann, name="x" * 200, samples=0)
    add_channel(ann)
    enqueue("needs_operator", job)
    title = Notification.objects.get().title
    assert len(title) <= 200
    assert title.endswith("» needs an operator (simulated)")
