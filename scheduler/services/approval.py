"""Jobs that an operator has to approve before they are planned."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import QuerySet

from modules.contract.lab import LabFileError
from notifications.outbox import tell
from scheduler import catalogue as catalogues
from scheduler.generator import Expansion
from scheduler.jobformat.problems import Problems
from scheduler.models import Job, Task
from scheduler.states import JobState
from users.models import LabRole, User
from users.permissions import require
from users.policies.rules import Rules, rules_of

from .requests import WAIT_S, Answer, IllegalStateError, ask

AGENT = "it comes from an automatic agent"


def check_rules(expansion: Expansion, rules: Rules, problems: Problems) -> None:
    """Note what of a job the project's rules forbid."""
    for task in expansion.tasks:
        if task.cleanup:
            continue
        if refusal := rules.refusal(task.module, task.task):
            problems.add(("workflow", task.index, "task"), refusal)
        for name, reason in rules.out_of_range(task.module, task.task, task.parameters):
            problems.add(("workflow", task.index, "with", name), reason)


def unknown_names(rules: Rules) -> list[str]:
    """Return what the rules name and the lab does not have at present: a typing error, or a module that is away."""
    try:
        catalogue = catalogues.current()
    except LabFileError:
        return []
    known = set(catalogue.lab.modules)
    for module, manifest in catalogue.manifests.items():
        for task in manifest.tasks:
            known.add(f"{module}.{task.name}")
            known.update(f"{module}.{task.name}.{name}" for name in task.parameters.get("properties", {}))
    named = {*(rules.allow or ()), *rules.deny, *rules.approve, *rules.ranges}
    return sorted(named - known)


def unknown_modules(modules: Iterable[str]) -> str:
    """Return a sentence if the lab does not have some of these modules at present; else nothing."""
    unknown = unknown_names(Rules.model_validate({"allow": sorted(modules)}))
    return f"The lab has no module {' and no '.join(unknown)} at present: mistyped, or yet to come?" if unknown else ""


def why_approval(tasks: Iterable[tuple[str, str]], rules: Rules, by_agent: bool) -> str:
    """Return why a job with these tasks (module, task) has to be approved, or nothing."""
    wanted = sorted({f"{module}.{task}" for module, task in tasks if rules.wants_approval(module, task)})
    reasons = [f"the project has {', '.join(wanted)} approved"] if wanted else []
    if by_agent and rules.approve_agents:
        reasons.append(AGENT)
    return f"Waits for an operator's approval: {'; '.join(reasons)}." if reasons else ""


def waiting_for(user: User) -> QuerySet[Job]:
    """Return the jobs that an operator may approve, oldest first."""
    jobs = Job.objects.filter(state=JobState.AWAITING_APPROVAL).select_related("project", "owner").order_by("id")
    return jobs.filter(pk__in=[job.pk for job in jobs if may_approve(user, job)])


def may_approve(user: User, job: Job) -> bool:
    """Tell whether the user operates every module of which the project has work approved (any, for an agent's job)."""
    if not user.operates():
        return False
    return all(user.operates(module) for module in _modules(job, rules_of(job.project)))


def approve_job(user: User, job: Job, note: str = "", *, wait_s: float = WAIT_S) -> Answer:
    """Let a job be planned.

    Raises
    ------
    IllegalStateError
        If it does not wait for approval.
    PermissionDenied
        If the user does not operate its modules.
    """
    _check(user, job)
    return ask("approve", user, job, wait_s, note=note)


def reject_job(user: User, job: Job, note: str, *, wait_s: float = WAIT_S) -> Answer:
    """Cancel a job that waits for approval; its owner is told the note. Raises as :func:`approve_job` does."""
    _check(user, job)
    return ask("reject", user, job, wait_s, reason=f"rejected by {user.username}: {note}"[:1000])


def tell_operators(job: Job) -> None:
    """Tell the operators who may approve a job that it waits; call it in the transaction that inserts the job."""
    operators = User.objects.filter(is_active=True, lab_roles__role=LabRole.Role.OPERATOR).distinct()
    tell("needs_approval", job, [user for user in operators if may_approve(user, job)], job.state_reason)


def _modules(job: Job, rules: Rules) -> set[str]:
    tasks = Task.objects.filter(job=job, cleanup=False).values_list("module", "task").distinct()
    return {module for module, task in tasks if rules.wants_approval(module, task)}


def _check(user: User, job: Job) -> None:
    require(may_approve(user, job), "Only operators of its modules may approve or reject a job.")
    if job.state != JobState.AWAITING_APPROVAL:
        raise IllegalStateError(job.state, frozenset(), f"The job is {job.state}; it does not wait for approval.")
