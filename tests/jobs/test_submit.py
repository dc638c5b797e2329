from __future__ import annotations

import pytest

from scheduler.models import Job
from scheduler.services.jobs import submit_job
from tests.jobs import lab
from users.models import User


def test_demo(silver, ada: User) -> None:
    job, created = submit_job(user=ada, document=lab.example("silver-nanoparticles"))
    assert created
    assert Job.objects.get().steps.count() == 107
