"""The operator's desk: interrupted steps, stocks, samples to collect."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from analysis.results import store
from modules.contract.messages import CLOSED
from octolab.templatetags.lab import duration
from scheduler import catalogue
from scheduler.models import Job, Place, Sample, Step, Stock
from scheduler.services import people
from scheduler.services import requests as wishes
from scheduler.services.overdue import overdue_steps
from scheduler.services.stranded import stranded_samples
from scheduler.states import SAMPLE_FINAL

from . import words
from .answers import tell
from .approvals import approvals
from .asker import asker
from .lab import stock_rows
from .questions import questions
from .thelab import lab_clock

DECISIONS = ("done", "repeat", "failed", *wishes.BREACHED)


def operators_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let operators in; for others the page does not exist."""

    @wraps(view)
    @login_required
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not asker(request).operates():
            raise Http404
        return view(request, *args, **kwargs)

    return guarded


@operators_only
def desk(request: HttpRequest) -> HttpResponse:
    """Show everything that waits for an operator."""
    from . import maintenance

    return render(
        request,
        "octolab/operator.html",
        {
            "approvals": approvals(asker(request)),
            "attention": _attention(request),
            "late": _late(request),
            "overdue": _overdue(request),
            "stranded": _stranded(request),
            "questions": questions(asker(request)),
            "stocks": stock_rows(),
            "storage": _storage(request),
        }
        | maintenance.rows(request),
    )


@operators_only
def desk_part(request: HttpRequest, part: str) -> HttpResponse:
    """Show one part of the page anew."""
    if part == "questions":
        return render(request, "octolab/parts/operator_questions.html", {"questions": questions(asker(request))})
    if part != "attention":
        raise Http404
    return render(
        request,
        "octolab/parts/operator_attention.html",
        {
            "attention": _attention(request),
            "late": _late(request),
            "overdue": _overdue(request),
            "stranded": _stranded(request),
        },
    )


@operators_only
@require_POST
def decide(request: HttpRequest, step_id: UUID) -> HttpResponse:
    """Take the operator's word on an interrupted step."""
    step = get_object_or_404(Step, id=step_id)
    decision, note = request.POST.get("decision", ""), request.POST.get("note", "").strip()
    if decision not in DECISIONS or not note:
        messages.error(request, "Choose what is true, and write down what you saw.", extra_tags="bad")
        return redirect("operator")
    return _wish(request, wishes.decide, step, decision, note)


@operators_only
@require_POST
def refill(request: HttpRequest, stock_id: str) -> HttpResponse:
    """Note what a stock holds after it was refilled."""
    stock = get_object_or_404(Stock, id=stock_id)
    try:
        level = float(request.POST.get("level", ""))
    except ValueError:
        messages.error(request, "Say as a number what it holds now.", extra_tags="bad")
        return redirect("operator")
    return _wish(request, wishes.refill, stock, level=level, lot=request.POST.get("lot", ""))


@operators_only
@require_POST
def collect(request: HttpRequest, sample_id: UUID) -> HttpResponse:
    """Note that somebody took a sample out of storage."""
    return _wish(request, wishes.collect, get_object_or_404(Sample, id=sample_id))


def _wish(request: HttpRequest, verb: Callable[..., Any], *arguments: Any, **more: Any) -> HttpResponse:
    try:
        tell(request, verb(asker(request), *arguments, **more))
    except wishes.IllegalStateError as refusal:
        messages.error(request, str(refusal), extra_tags="bad")
    return redirect("operator")


def _late(request: HttpRequest) -> list[dict[str, Any]]:
    steps = [step for step in wishes.late_steps() if asker(request).operates(step.module)]
    known = _names(request, {step.job_id for step in steps})
    return [{"step": step, "job_label": known.get(step.job_id, "another project's job")} for step in steps]


def _overdue(request: HttpRequest) -> list[dict[str, Any]]:
    steps = [step for step in overdue_steps() if asker(request).operates(step.module)]
    known = _names(request, {step.job_id for step in steps})
    now_s = lab_clock().now()
    return [
        {
            "step": step,
            "job_label": known.get(step.job_id, "another project's job"),
            "job_id": step.job_id if step.job_id in known else None,
            "so_far_s": now_s - (step.started_lab_s or now_s),
            "devices": sorted(step.devices),
        }
        for step in steps
    ]


def _stranded(request: HttpRequest) -> list[dict[str, Any]]:
    return _standing(request, stranded_samples())


def _attention(request: HttpRequest) -> list[dict[str, Any]]:
    orders = wishes.interrupted_orders()
    known = _names(request, {steps[0].job_id for steps in orders})
    attempts = {
        record["_id"]: record
        for record in store().find_ids("attempts", [f"{steps[0].block}/{steps[0].attempt}" for steps in orders])
        if record["state"] in CLOSED
    }
    now_s = lab_clock().now()
    rows = []
    for steps in orders:
        step = steps[0]
        attempt = attempts.get(f"{step.block}/{step.attempt}", {})
        since_s = attempt.get("ended_lab_s") or step.started_lab_s
        rows.append(
            {
                "step": step,
                "titles": [words.step(one) for one in steps],
                "job_label": known.get(step.job_id, "another project's job"),
                "when": f"{duration(now_s - since_s)} ago (lab time)" if since_s is not None else "",
                "devices": sorted({device for one in steps for device in one.devices}),
                "samples": [m.sample.name for m in step.members.all() if m.sample] if step.job_id in known else [],
                "places": [place for row in people.where_samples_stand(step) for place in row["places"]],
                "next": _after(steps[-1]),
                "last_command": attempt.get("last_command", ""),
                "reason": step.reason or attempt.get("reason", ""),
            }
        )
    return rows


def _after(step: Step) -> Step | None:
    """Return the next step with the same samples, if there is one."""
    samples = [member.sample_id for member in step.members.all()]
    later = Step.objects.filter(job=step.job_id, index__gt=step.index, dormant=False, members__sample__in=samples)
    return later.exclude(action=None).order_by("index").first()


def _storage(request: HttpRequest) -> list[dict[str, Any]]:
    places = list(Place.objects.filter(sample__isnull=False).select_related("sample").order_by("resource", "index"))
    return _standing(request, [p for p in places if p.sample is not None and p.sample.state in SAMPLE_FINAL])


def _standing(request: HttpRequest, places: list[Place]) -> list[dict[str, Any]]:
    """Return where samples stand, and of which job; names of jobs only of those that one may see."""
    known = _names(request, {place.sample.job_id for place in places if place.sample})
    return [
        {
            "place": catalogue.current().place_name(place.resource, place.index),
            "sample": place.sample.name,
            "sample_id": place.sample.id,
            "job_label": known.get(place.sample.job_id, "another project's job"),
            "since": place.since_lab_s,
        }
        for place in places
        if place.sample
    ]


def _names(request: HttpRequest, job_ids: set[UUID]) -> dict[UUID, str]:
    return dict(Job.objects.visible_to(asker(request)).filter(id__in=job_ids).values_list("id", "name"))
