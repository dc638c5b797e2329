"""What every page knows."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import Any

from django.http import HttpRequest
from django.http.request import split_domain_port

from octolab import labtime
from users.accounts.adapter import may_sign_up

from .thelab import the_lab

PAGES = (
    ("lab", "Lab"),
    ("jobs", "Jobs"),
    ("submit", "Submit"),
    ("what-if", "What if"),
    ("predictions", "Predictions"),
    ("accounting", "Usage"),
    ("operator", "Operator"),
    ("admin-people", "Admin"),
)


def lab(request: HttpRequest) -> dict[str, Any]:
    """Context processor: the lab's name, whether it is simulated, and the pages that the user may open.

    Who is not signed in learns only whether the lab lets anybody make an account.
    """
    user = getattr(request, "user", None)
    if user is None:
        return {}
    if not user.is_authenticated:
        return {
            "may_sign_up": partial(may_sign_up, request),  # asked by the page that shows it alone
            "reached_by_name": _reached_by_name(request),
        }
    operator = user.operates()
    hidden = {name for name, may in (("operator", operator), ("admin-people", user.is_lab_admin)) if not may}
    clock = labtime.clock()
    match = request.resolver_match
    return {
        "lab_name": the_lab().name,
        "lab_zone": the_lab().timezone,
        "simulated": the_lab().simulated,
        "scale": f"{clock.scale if clock else the_lab().clock.scale:g}",
        "operator": operator,
        "reached_by_name": _reached_by_name(request),
        "navigation": [(name, label) for name, label in PAGES if name not in hidden],
        "here": match.url_name if match else "",
    }


def _reached_by_name(request: HttpRequest) -> bool:
    """Tell whether the page was asked for by a name: browsers keep no passkey for a mere address."""
    host, _ = split_domain_port(request.get_host())
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return True
    return False
