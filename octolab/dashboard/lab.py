"""The lab page: plan, modules and devices, stocks and places."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

from scheduler.models import Device, Job, Module, Place, Stock
from scheduler.states import JobState

from .doings import doings
from .plan import lab_plan
from .thelab import the_lab


@login_required
def lab(request: HttpRequest) -> HttpResponse:
    """Show the lab at a glance."""
    return render(request, "octolab/lab.html", _plan(request) | _devices(request) | _stocks(request))


@login_required
def lab_part(request: HttpRequest, part: str) -> HttpResponse:
    """Show one part of the page anew."""
    parts = {"plan": _plan, "devices": _devices, "stocks": _stocks}
    if part not in parts:
        raise Http404
    return render(request, f"octolab/parts/lab_{part}.html", parts[part](request))


def _plan(request: HttpRequest) -> dict[str, Any]:
    states = dict(Job.objects.visible_to(request.user).values_list("state").annotate(Count("id")))
    return lab_plan(request.user) | {
        "running": states.get(JobState.RUNNING, 0),
        "queued": states.get(JobState.QUEUED, 0),
    }


def _devices(request: HttpRequest) -> dict[str, Any]:
    devices = list(Device.objects.order_by("id"))
    hands, soon = doings(request.user)
    manifests = {
        row.id: row.manifest.document for row in Module.objects.select_related("manifest") if row.manifest is not None
    }
    modules = []
    for instance, section in the_lab().modules.items():
        manifest = manifests.get(instance, {})
        modules.append(
            {
                "id": instance,
                "title": section.title or manifest.get("title") or instance,
                "tasks": [task["name"] for task in manifest.get("tasks", [])],
                "devices": [
                    {
                        "id": device.id,
                        "title": device.title,
                        "state": device.state,
                        "reason": device.reason,
                        "modules": device.modules,
                        "shared": len(device.modules) > 1,
                        "hands": hands.get(device.id),
                    }
                    for device in devices
                    if instance in device.modules
                ],
            }
        )
    return {"modules": modules, "soon": soon}


def _stocks(request: HttpRequest) -> dict[str, Any]:
    return {"stocks": stock_rows(), "places": place_rows()}


def stock_rows() -> list[Stock]:
    """Return the stocks, with ``low`` set where a warning is due."""
    stocks = list(Stock.objects.order_by("id"))
    for stock in stocks:
        stock.low = stock.level - stock.reserved < stock.warn_below or stock.level < stock.warn_below  # type: ignore[attr-defined]
    return stocks


def place_rows() -> list[dict[str, Any]]:
    """Return how many places of each resource are taken."""
    kinds = Place.objects.values("resource").annotate(total=Count("id"), taken=Count(F("sample")))
    return [dict(row) for row in kinds.order_by("resource")]
