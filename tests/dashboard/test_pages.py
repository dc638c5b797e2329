"""Pages show each person what is theirs, and are safe to show."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from scheduler.models import Step
from tests.cast import World

from .conftest import Browser

PARTS = ("status", "why", "timeline", "results", "log")


def test_a_job_page_is_for_those_who_may_see_the_job(world: World, signed_in: Browser) -> None:
    page = reverse("job", args=[world.job.id])
    for name in ("owner", "member", "viewer", "lead"):
        answer = signed_in(name).get(page)
        assert answer.status_code == 200, name
        assert world.job.name in answer.content.decode()
    for name in ("outsider", "removed", "operator", "admin"):
        assert signed_in(name).get(page).status_code == 404, name
        for part in PARTS:
            assert signed_in(name).get(reverse("job-part", args=[world.job.id, part])).status_code == 404, name


def test_who_is_not_signed_in_or_not_active_is_sent_to_sign_in(world: World, signed_in: Browser) -> None:
    for name in ("anonymous", "deactivated"):
        for page in ("/", "/jobs", "/jobs/new", "/operator", "/account", f"/jobs/{world.job.id}"):
            answer = signed_in(name).get(page)
            assert answer.status_code == 302, (name, page)
            assert answer.headers["Location"].startswith("/login?next=")


def test_the_plan_shows_other_peoples_work_as_busy_without_names(world: World, signed_in: Browser) -> None:
    Step.objects.filter(id=world.step.id).update(
        planned_start_lab_s=1e9, planned_end_lab_s=1e9 + 60, started_lab_s=None
    )
    seen = signed_in("member").get("/lab/plan").content.decode()
    assert "secret recipe" in seen
    for name in ("outsider", "operator", "admin"):
        hidden = signed_in(name).get("/lab/plan").content.decode()
        assert "busy" in hidden, name
        assert "secret recipe" not in hidden, name
        assert str(world.job.id) not in hidden, name


def test_pages_hold_no_inline_script_or_style(world: World, signed_in: Browser) -> None:
    client = signed_in("owner")
    for page in ("/", "/jobs", "/jobs/new", "/account", f"/jobs/{world.job.id}", "/login"):
        text = client.get(page, follow=True).content.decode()
        assert not re.search(r"<script(?![^>]*\bsrc=)", text), page
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), page


def test_names_are_text_everywhere(world: World, signed_in: Browser) -> None:
    evil = '"><script>alert(1)</script>'
    world.job.name = evil
    world.job.save()
    world.sample.name = evil
    world.sample.save()
    client = signed_in("owner")
    for page in ("/", "/jobs", f"/jobs/{world.job.id}"):
        assert "<script>alert" not in client.get(page).content.decode(), page


@pytest.mark.parametrize("page", ["/jobs/00000000-0000-0000-0000-000000000000", "/lab/nonsense", "/examples/none"])
def test_what_is_not_there_is_a_404(world: World, signed_in: Browser, page: str) -> None:
    assert signed_in("owner").get(page).status_code == 404
