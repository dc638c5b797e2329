"""Insert jobs into the database that the environment names: a process of its own, as the web is.

``python -m tests.scheduler.submit NUMBER`` prints the jobs' ids; ``… preview`` prints where one would stand, and keeps
nothing.
"""

from __future__ import annotations

import os
import sys


def main(count: int) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "octolab.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.db import transaction

    from analysis.documents import DocumentStore
    from modules.contract.clock import attach
    from scheduler.doorbell import ring_scheduler
    from tests.scheduler.harness import DEVICES, S, make_job, make_user
    from users.models import User

    store = DocumentStore(settings.MONGO_URL)
    now_s = attach(store.database).now()
    store.close()
    owner = User.objects.filter(username="ada").first() or make_user("ada")
    for number in range(count):
        device = DEVICES[number % len(DEVICES)]
        with transaction.atomic():
            if number % 3:
                steps = [S("a", {device: "use"}, duration_s=1), S("b", {"arm": "use"}, duration_s=1, needs=["a"])]
            else:
                steps = [
                    S("put", {"arm": "use"}, duration_s=1, takes=["slot"]),
                    S("rest", standby=True, duration_s=2, needs=["put"]),
                    S("take", {"arm": "use"}, duration_s=1, needs=["rest"], frees=["slot"]),
                ]
            print(make_job(owner, steps, submitted_lab_s=now_s).id)
        ring_scheduler()


def preview() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "octolab.settings"
    import django

    django.setup()
    from django.db import transaction

    from scheduler.models import StepMember
    from scheduler.services import placement
    from tests.scheduler.harness import S, make_job, make_user
    from users.models import User

    with transaction.atomic():
        owner = User.objects.filter(username="ada").first() or make_user("ada")
        job = make_job(owner, [S("a", {"arm": "use"}, duration_s=50), S("b", {"eye": "use"}, needs=["a"])])
        steps, members = list(job.steps.all()), list(StepMember.objects.filter(step__job=job))
        transaction.set_rollback(True)
    found = placement.preview(job, steps, members, wait_s=10)
    assert found is not None
    assert found.start_lab_s is not None
    assert found.finish_lab_s is not None
    print(found.finish_lab_s - found.start_lab_s, len(found.steps or {}))


if __name__ == "__main__":
    if sys.argv[1] == "preview":
        preview()
    else:
        main(int(sys.argv[1]))
