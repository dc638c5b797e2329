"""What every page knows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from octolab import labtime

from .thelab import the_lab

PAGES = (
    ("lab", "Lab"),
    ("jobs", "Jobs"),
    ("submit", "Submit"),
    ("what-if", "What if"),
    ("predictions", "Predictions"),
    ("accounting", "Use"),
    ("operator", "Operator"),
    ("admin-people", "Admin"),
)


def lab(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the lab's name, whether it is simulated, and the pages that the user may open."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    operator = user.operates()
    hidden = {name for name, may in (("operator", operator), ("admin-people", user.is_lab_admin)) if not may}
    clock = labtime.clock()
    match = request.resolver_match
    return {
        "lab_name": the_lab().name,
        "simulated": the_lab().simulated,
        "scale": f"{clock.scale if clock else the_lab().clock.scale:g}",
        "operator": operator,
        "navigation": [(name, label) for name, label in PAGES if name not in hidden],
        "here": match.url_name if match else "",
    }
