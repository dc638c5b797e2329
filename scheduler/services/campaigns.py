"""Jobs that wait for each other: by key in a campaign, whichever of them comes first, or for a sample not made yet."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import QuerySet

from scheduler.generator import Expansion
from scheduler.jobformat.model import JobDocument
from scheduler.jobformat.problems import Problems
from scheduler.models import Job, Sample
from scheduler.states import JOB_FINAL
from users.models import Project


def jobs_of(project: Project, campaign: str) -> QuerySet[Job]:
    """Return the jobs of a campaign, newest first: of several with one key the newest counts."""
    return Job.objects.filter(project=project, campaign=campaign).order_by("-id")


def check_campaign(document: JobDocument, expansion: Expansion, project: Project, problems: Problems) -> None:
    """Note a key that is taken, and jobs that would wait for each other in a circle."""
    if document.campaign is None:
        if document.key is not None:
            problems.add(("key",), "A key is what other jobs of a campaign call this one; say in `campaign` which.")
        return
    if document.key is None:
        return
    jobs = jobs_of(project, document.campaign)
    if jobs.filter(campaign_key=document.key).exclude(state__in=JOB_FINAL).exists():
        problems.add(("key",), f"The campaign has a job `{document.key}` that is not over; take another key.")
    if loop := _way_back(document.key, list(_first(expansion, jobs)), project, document.campaign):
        names = " → ".join(f"`{name}`" for name in [document.key, *loop, document.key])
        problems.add(("workflow",), f"These jobs would wait for each other in a circle: {names}.")


def _first(expansion: Expansion, jobs: QuerySet[Job]) -> Iterator[Job]:
    """Yield the jobs for which a new one would wait, as far as they were submitted."""
    for key in expansion.waits_for:
        if (job := jobs.filter(campaign_key=key).first()) is not None:
            yield job
    awaited = [sample.source["sample"] for sample in expansion.samples if sample.source.get("awaited")]
    yield from Job.objects.filter(samples__in=awaited).distinct()


def _way_back(key: str, first: list[Job], project: Project, campaign: str) -> list[str]:
    """Return the names of jobs on a way from these to one that waits for the key; empty if there is none."""
    paths = [[job] for job in first]
    seen = {job.pk for job in first}
    while paths:
        path = paths.pop()
        job = path[-1]
        if job.state in JOB_FINAL:
            continue
        if job.project_id == project.pk and job.campaign == campaign and key in job.waits_for:
            return [one.campaign_key or one.name for one in path]
        for following in _following(job):
            if following.pk not in seen:
                seen.add(following.pk)
                paths.append([*path, following])
    return []


def _following(job: Job) -> Iterator[Job]:
    """Yield the jobs for which a job waits."""
    for key in job.waits_for:
        found = jobs_of(job.project, job.campaign).filter(campaign_key=key).first()
        if found is not None:
            yield found
    sources = Sample.objects.filter(job=job, source__awaited=True).values_list("source__sample", flat=True)
    yield from Job.objects.filter(samples__in=list(sources)).distinct()
