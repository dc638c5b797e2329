"""Quotas, and the accounts that show what was used."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from scheduler.accounting.ledger import month_of
from scheduler.models import Job, Usage
from scheduler.services.jobs import submit_job
from scheduler.services.limits import OverLimit
from tests.cast import Person, World, make_world, person
from tests.jobs.conftest import open_lab  # noqa: F401
from users.audit.models import AuditEntry
from users.models import LabPolicy, Quota, User
from users.policies.services import change_policy, set_quota
from users.services import AccountError

NOOP: dict[str, Any] = {"name": "Nothing", "workflow": [{"task": "virtual.noop"}]}
WORK: dict[str, Any] = {"name": "Work", "workflow": [{"task": "virtual.occupy", "with": {"time": "36 s"}}]}
"""Takes 0.01 h of module time."""
URL = "/api/v1/jobs"
pytestmark = pytest.mark.django_db


@pytest.fixture
def ann(open_lab: Callable[[str], None]) -> Person:  # noqa: F811
    """A user in a virtual lab."""
    open_lab("virtual")
    return person("ann")


@pytest.fixture
def world(db: None) -> World:
    """One team, and everybody around."""
    return make_world()


def post(who: Person, body: Any = NOOP) -> Any:
    return who.client.post(URL, body, content_type="application/json")


def test_too_many_open_jobs_are_told_what_to_do_and_when(ann: Person) -> None:
    change_policy(open_jobs_per_user=2)
    assert [post(ann).status_code for _ in range(2)] == [202, 202]
    refused = post(ann)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) >= 1
    assert "2 open jobs" in refused.json()["detail"]
    assert "cancel some" in refused.json()["detail"]
    assert Job.objects.count() == 2
    Job.objects.filter(pk=Job.objects.first().pk).update(state="completed")  # type: ignore[union-attr]
    assert post(ann).status_code == 202


def test_a_repeated_submit_is_not_refused(ann: Person) -> None:
    change_policy(open_jobs_per_user=1)
    assert ann.user
    job, created = submit_job(user=ann.user, document=NOOP, idempotency_key="k")
    assert created
    assert submit_job(user=ann.user, document=NOOP, idempotency_key="k") == (job, False)


def test_a_users_own_quota_goes_before_the_labs(ann: Person) -> None:
    change_policy(open_jobs_per_user=0)
    assert ann.user
    set_quota(ann.user, open_jobs=1)
    assert [post(ann).status_code for _ in range(2)] == [202, 429]


def test_a_projects_quota_holds_for_all_its_members(ann: Person) -> None:
    assert ann.user
    set_quota(ann.user.personal_project, open_jobs=1)
    assert post(ann).status_code == 202
    refused = post(ann)
    assert refused.status_code == 429
    assert "`ann`" in refused.json()["detail"]


def test_module_hours_of_the_month(ann: Person) -> None:
    user = ann.user
    assert user
    set_quota(user, module_hours=1.0)
    now = timezone.now()
    use = {"user": user, "project": user.personal_project, "kind": "module", "item": "virtual"}
    Usage.objects.create(month=date(2020, 1, 1), amount=1e9, **use)
    assert post(ann, WORK).status_code == 202, "other months do not count"
    Usage.objects.create(month=month_of(now), amount=3600.0, **use)
    refused = post(ann, WORK)
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 31 * 86_400
    assert "next month" in refused.json()["detail"]


def test_what_open_jobs_still_need_counts(ann: Person) -> None:
    assert ann.user
    job = submit_job(user=ann.user, document=WORK)[0]
    job.steps.update(duration_s=7200.0)
    set_quota(ann.user, module_hours=2.0)
    assert post(ann, WORK).status_code == 429
    job.steps.update(state="completed")
    assert post(ann, WORK).status_code == 202


def test_a_job_that_no_month_could_hold_is_a_conflict_without_retry(ann: Person) -> None:
    assert ann.user
    set_quota(ann.user, module_hours=0.0)
    refused = post(ann, WORK)
    assert refused.status_code == 409
    assert "Retry-After" not in refused.headers
    assert "Split it" in refused.json()["detail"]


def test_the_page_says_it_too(ann: Person) -> None:
    from octolab.dashboard.submission import submit_text

    change_policy(open_jobs_per_user=0)
    assert ann.user
    job, problems = submit_text(ann.user, "name: x\nworkflow: [{task: virtual.noop}]", "", "key")
    assert job is None
    assert "open jobs" in problems[0].message


def test_a_refused_submit_leaves_nothing(ann: Person) -> None:
    change_policy(open_jobs_per_user=0)
    before = AuditEntry.objects.count()
    assert ann.user
    with pytest.raises(OverLimit):
        submit_job(user=ann.user, document=NOOP)
    assert not Job.objects.exists()
    assert AuditEntry.objects.count() == before


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"half_life_h": 0}, "half_life_h"), ({"mfa_for": ["x"]}, "mfa_for"), ({"root": 1}, "root"),
     ({"sign_up": "everybody"}, "sign_up"), ({"open_jobs_per_user": -1}, "open_jobs_per_user")],
)  # fmt: skip
def test_wrong_settings_are_refused_and_leave_nothing(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(AccountError) as caught:
        change_policy(**changes)
    assert caught.value.path == path
    assert not LabPolicy.objects.exists()
    assert not AuditEntry.objects.exists()


def test_admins_set_quotas_over_rest_and_it_is_noted(world: World) -> None:
    answer = world.admin.client.put("/api/v1/quotas/projects/team", {"module_hours": 12.5}, "application/json")
    assert answer.json() == {"open_jobs": None, "module_hours": 12.5}
    entry = AuditEntry.objects.latest("seq")
    assert (entry.verb, entry.actor, entry.project) == ("quota.set", "admin", "team")
    shown = world.viewer.client.get("/api/v1/quotas?project=team").json()
    assert shown[1]["most_module_hours"] == 12.5
    assert shown[1]["open_jobs"] == 1
    assert world.outsider.client.get("/api/v1/quotas?project=team").status_code == 422
    for wrong in ({"open_jobs": -1}, {"module_hours": "x"}, {"hours": 1}, {"open_jobs": 1.5}):
        assert world.admin.client.put("/api/v1/quotas/users/owner", wrong, "application/json").status_code == 422
    assert Quota.objects.count() == 1


def book(world: World) -> None:
    owner, outsider = world.owner.user, world.outsider.user
    assert owner
    assert outsider
    for user, project, kind, item, amount in (
        (owner, world.project, "module", "bench", 5400.0),
        (owner, world.project, "sample", "completed", 3.0),
        (owner, world.project, "stock", "vials", 3.0),
        (outsider, outsider.personal_project, "module", "bench", 1800.0),
    ):
        Usage.objects.create(month=date(2026, 3, 1), user=user, project=project, kind=kind, item=item, amount=amount)


def test_accounts_are_for_those_of_the_project_and_admins(world: World) -> None:
    book(world)

    def seen(who: Person, query: str = "") -> set[str]:
        return {row["project"] for row in who.client.get(f"/api/v1/accounting{query}").json()["results"]}

    assert seen(world.viewer) == {"team"}
    assert seen(world.outsider) == {"outsider"}
    assert seen(world.operator) == set()
    assert seen(world.admin) == {"team", "outsider"}
    assert seen(world.admin, "?project=team&user=owner&since=2026-03&until=2026-03") == {"team"}
    assert seen(world.admin, "?since=2026-04") == set()
    assert seen(world.owner, "?user=me") == {"team"}
    assert world.owner.client.get("/api/v1/accounting?since=2026-13").status_code == 422
    assert world.owner.client.get("/api/v1/accounting?since=0000-01").status_code == 422


def test_the_table_has_units_and_no_formula(world: World) -> None:
    book(world)
    # Names like this one were allowed once.
    User.objects.filter(username="outsider").update(username="@SUM")
    answer = world.admin.client.get("/api/v1/accounting.csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert rows[1]["module time (h)"] == "1.5"
    assert rows[1]["vials (1)"] == "3.0"
    assert rows[1]["samples completed"] == "3"
    assert rows[0]["user"] == "'@SUM"


def test_the_page_shows_the_same(world: World) -> None:
    book(world)

    def page(who: Person, query: str = "") -> str:
        client = Client()
        assert who.user
        client.force_login(who.user, backend="django.contrib.auth.backends.ModelBackend")
        return client.get(f"/accounting{query}").content.decode()

    assert "1.500" in page(world.viewer)
    assert "1.500" not in page(world.outsider)
    assert "0.500" in page(world.admin)
    assert page(world.owner, "?format=csv").startswith("month,project,user")
    assert "Nothing was used" in page(world.owner, "?since=2026-04&project=team")
