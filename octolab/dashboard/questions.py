"""Steps that wait for a person: the lists on job page and operator's desk, and the form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from scheduler.models import Job, Step
from scheduler.services import people
from scheduler.services.requests import IllegalStateError
from scheduler.states import StepState
from users.models import User

from .asker import asker


@dataclass(frozen=True)
class Input:
    """A field of the form with what stands in it."""

    field: people.Field
    value: str
    error: str

    @property
    def hint(self) -> str:
        """What may be written: ``0 to 10 g``."""
        field = self.field
        low, high = (None if limit is None else f"{limit:g}" for limit in (field.minimum, field.maximum))
        limits = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}" if high else ""
        return " ".join(part for part in (limits, field.unit if field.unit != "1" else "") if part)


def questions(user: User, job: Job | None = None) -> list[dict[str, Any]]:
    """Return what a list of steps that wait for a person shows: those of a job, or all that the user may answer."""
    if job is None:
        steps = list(people.waiting_for(user)[:100])
    else:
        asked = job.steps.filter(person=True, state=StepState.DISPATCHED).select_related("job__project", "job__owner")
        steps = list(asked.order_by("granted_at", "id")[:100])
    known = set(
        Job.objects.visible_to(user).filter(pk__in={step.job_id for step in steps}).values_list("pk", flat=True)
    )
    return [
        {
            "step": step,
            "title": people.form_of(step).title,
            "samples": people.where_samples_stand(step)[:5],
            "who": sorted(device for device, mode in step.devices.items() if mode == "use"),
            "job_label": step.job.name if step.job_id in known else "another project's job",
            "mine": people.may_answer(user, step),
        }
        for step in steps
    ]


@login_required
def asked(request: HttpRequest) -> HttpResponse:
    """Show everything that the user is asked for."""
    return render(request, "octolab/asked.html", {"questions": questions(asker(request))})


@login_required
def page(request: HttpRequest, step_id: UUID) -> HttpResponse:
    """Show what is asked for, with a form."""
    return _page(request, _visible(request, step_id))


@login_required
@require_POST
def answer(request: HttpRequest, step_id: UUID) -> HttpResponse:
    """Take an answer."""
    step, user = _visible(request, step_id), asker(request)
    given, note = request.POST, request.POST.get("note", "")
    cannot = given.get("action") == "cannot"
    values = {name.removeprefix("value-"): _typed(str(text)) for name, text in given.items() if name[:6] == "value-"}
    try:
        people.answer(user, step, values, note, cannot=cannot)
    except people.AnswerRefused as refused:
        return _page(request, step, dict(refused.problems))
    except IllegalStateError as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
        return redirect("step", step_id=step.pk)
    messages.success(request, "Your answer is kept.", extra_tags="ok")
    visible = Job.objects.visible_to(user).filter(pk=step.job_id).exists()
    return redirect("job", job_id=step.job_id) if visible else redirect("operator")


def _typed(text: str) -> Any:
    """Return what a control of a form means: only a check box speaks of truth."""
    return {"☑": True, "☐": False}.get(text, text)


def _page(request: HttpRequest, step: Step, errors: dict[str, str] | None = None) -> HttpResponse:
    user, wrong, form = asker(request), errors or {}, people.form_of(step)
    inputs = [
        Input(field, request.POST.get(f"value-{field.name}", ""), wrong.get(field.name, "")) for field in form.fields
    ]
    visible = Job.objects.visible_to(user).filter(pk=step.job_id).exists()
    context = {
        "step": step,
        "form": form,
        "inputs": inputs,
        "note": request.POST.get("note", ""),
        "note_error": wrong.get("note", ""),
        "samples": people.where_samples_stand(step),
        "given": [given for given in form.parameters if given[0] not in ("instruction", "who", "keep_still", "time")],
        "still": sorted(device for device, mode in step.devices.items() if mode == "still"),
        "asked": step.state == StepState.DISPATCHED,
        "mine": people.may_answer(user, step),
        "job_name": step.job.name if visible else "",
    }
    return render(request, "octolab/step.html", context)


def _visible(request: HttpRequest, step_id: UUID) -> Step:
    step = get_object_or_404(Step.objects.select_related("job__project", "job__owner"), pk=step_id, person=True)
    if not people.may_see(asker(request), step):
        raise Http404
    return step
