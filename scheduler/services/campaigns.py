"""Campaigns: jobs of one project that refer to each other by key, whichever of them comes first."""

from __future__ import annotations

from django.db.models import QuerySet

from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.problems import Problems
from scheduler.models import Job
from scheduler.states import JOB_FINAL
from users.models import Project


def jobs_of(project: Project, campaign: str) -> QuerySet[Job]:
    """Return the jobs of a campaign, newest first: of several with one key the newest counts."""
    return Job.objects.filter(project=project, campaign=campaign).order_by("-id")


def check_campaign(document: JobDocument, waits_for: tuple[str, ...], project: Project, problems: Problems) -> None:
    """Note a key that is taken, and jobs that would wait for each other in a circle."""
    if document.campaign is None:
        if document.key is not None:
            problems.add(("key",), "A key is what other jobs of a campaign call this one; say in `campaign` which.")
        return
    jobs = jobs_of(project, document.campaign)
    if document.key is None:
        return
    if jobs.filter(campaign_key=document.key).exclude(state__in=JOB_FINAL).exists():
        problems.add(("key",), f"The campaign has a job `{document.key}` that is not over; take another key.")
    waits: dict[str, list[str]] = {document.key: list(waits_for)}
    for key, found in (
        jobs.exclude(campaign_key="").exclude(state__in=JOB_FINAL).values_list("campaign_key", "waits_for")
    ):
        waits.setdefault(key, found)
    if loop := _loop(document.key, waits):
        names = " → ".join(f"`{key}`" for key in loop)
        problems.add(("workflow",), f"These jobs of the campaign would wait for each other in a circle: {names}.")


def _loop(start: str, waits: dict[str, list[str]]) -> list[str]:
    """Return a way from a job back to itself, or nothing."""
    paths, seen = [[start]], set()
    while paths:
        path = paths.pop()
        for following in waits.get(path[-1], ()):
            if following == start:
                return [*path, start]
            if following not in seen:
                seen.add(following)
                paths.append([*path, following])
    return []
