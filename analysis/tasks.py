"""Slow work on results, on the queue ``analysis``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from django.conf import settings

from octolab.celery import app

_log = logging.getLogger(__name__)


@app.task(name="analysis.run_routine", queue="analysis")
def run_routine(job_id: str, routine: str, parameters: dict[str, Any], request_id: str, requested_by: str) -> int:
    """Run a routine on every run of a job that counts and has what it needs; return how many those are.

    A second delivery of the same request changes nothing, and nothing is done for who may not see the job any more.
    """
    # Here, so that services at rest hold no numpy.
    from scheduler.models import Job
    from users.models import User

    from . import routines
    from .processing import analyse
    from .results import job_results, store

    asker = User.objects.filter(username=requested_by).first()
    job = None if asker is None else Job.objects.visible_to(asker).filter(pk=job_id).first()
    if job is None:
        _log.warning("%s may not see the job %s any more: %s is not run", requested_by, job_id, routine)
        return 0
    chosen = routines.get(routine)
    done = 0
    for run in job_results(job).runs:
        if run.counts and run.document.get("ok") and set(chosen.needs) <= set(run.arrays):
            analyse(
                store(),
                Path(settings.DATA_ROOT),
                run.document,
                chosen,
                parameters,
                analysis_id=f"{request_id}-{run.uid}",
                requested_by=requested_by,
            )
            done += 1
    return done
