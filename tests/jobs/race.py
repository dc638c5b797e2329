"""Submits one job from four threads at once, on a database of its own; prints what came of it as JSON.

A process of its own, because threads in a test share Django's database in memory, which locks them out of each other's
tables as no database of a lab does.
"""

from __future__ import annotations

import json
import threading
from typing import Any

import django
from django.core.management import call_command

django.setup()

from django.db import connection  # noqa: E402

from modules.contract.clock import LabClock  # noqa: E402
from octolab import labtime  # noqa: E402
from scheduler.models import Job, Stock  # noqa: E402
from scheduler.services.jobs import submit_job  # noqa: E402
from tests.jobs import lab  # noqa: E402
from users.models import User  # noqa: E402
from users.services import create_user  # noqa: E402

MADE = {"name": "vial", "workflow": [{"task": "batch_synthesis.prepare"}]}


def main(key: str | None) -> None:
    """Submit with a key, or without."""
    call_command("migrate", verbosity=0)
    labtime.clock = lambda: LabClock.starting_now()  # type: ignore[assignment]
    lab.store("silver")
    Stock.objects.filter(id="vials").update(level=3)
    ada = create_user("ada")
    outcomes: list[Any] = []

    def submit() -> None:
        try:
            job, created = submit_job(user=User.objects.get(pk=ada.pk), document=MADE, idempotency_key=key)
            outcomes.append([str(job.pk), created])
        except Exception as error:
            outcomes.append([type(error).__name__, str(error)])
        finally:
            connection.close()

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reserved = Stock.objects.get(id="vials").reserved
    print(json.dumps({"outcomes": outcomes, "jobs": Job.objects.count(), "reserved": reserved}))


if __name__ == "__main__":
    import sys

    main(sys.argv[1] if len(sys.argv) > 1 else None)
