"""What people are told about what they wished for."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest

from scheduler.services.requests import Answer


def tell(request: HttpRequest, answer: Answer | None) -> None:
    """Tell somebody whose wish waits that it does; what is done shows by itself."""
    if answer is not None and not answer.applied:
        said = "Your wish is kept. It is done as soon as the scheduler answers."
        messages.warning(request, said, extra_tags="warn")
