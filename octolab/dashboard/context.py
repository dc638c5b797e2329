"""What every page knows."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from octolab.labclock import lab_clock, the_lab
from users.models import LabRole

PAGES = (("lab", "Lab"), ("jobs", "Jobs"), ("submit", "Submit"), ("operator", "Operator"))


def is_operator(user: Any) -> bool:
    """Return whether the user operates the lab or some of its modules."""
    return bool(user.is_authenticated) and user.lab_roles.filter(role=LabRole.Role.OPERATOR).exists()


def lab(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the lab's name, whether it is simulated, and the pages that the user may open."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    operator = is_operator(user)
    match = request.resolver_match
    return {
        "lab_name": the_lab().name,
        "simulated": the_lab().simulated,
        "scale": f"{lab_clock().scale:g}",
        "operator": operator,
        "navigation": [(name, label) for name, label in PAGES if operator or name != "operator"],
        "here": match.url_name if match else "",
    }
