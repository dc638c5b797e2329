"""The account page: tokens, and where to be told."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from notifications.models import Channel
from notifications.services import ChannelError, create_channel
from notifications.services import delete_channel as remove_channel
from users import services
from users.models import Token

from .asker import asker

VALID_DAYS = {"30": 30, "365": 365}


@login_required
def account(request: HttpRequest, secret: str = "") -> HttpResponse:
    """Show the user's tokens and channels; a new token's secret this once."""
    return render(
        request,
        "octolab/account.html",
        {
            "secret": secret,
            "tokens": Token.objects.filter(user=asker(request)).order_by("-created"),
            "channels": Channel.objects.filter(user=asker(request)).order_by("name"),
        },
    )


@login_required
@require_POST
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """Create a token for programs and show it once."""
    days = VALID_DAYS.get(request.POST.get("days", ""), 30)
    name = request.POST.get("name", "").strip()[:100] or "token"
    _, secret = services.create_token(asker(request), name, expires_at=timezone.now() + timedelta(days=days))
    return account(request, secret=secret)


@login_required
@require_POST
def revoke_token(request: HttpRequest, pk: str) -> HttpResponse:
    """Make a token useless."""
    services.revoke_token(get_object_or_404(Token, user=asker(request), pk=pk))
    return redirect("account")


@login_required
@require_POST
def new_channel(request: HttpRequest) -> HttpResponse:
    """Add a place to be told at."""
    try:
        create_channel(asker(request), request.POST.get("name", ""), request.POST.get("url", ""))
    except ChannelError as error:
        messages.error(request, str(error), extra_tags="bad")
    return redirect("account")


@login_required
@require_POST
def delete_channel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Remove a place to be told at."""
    remove_channel(get_object_or_404(Channel, user=asker(request), pk=pk))
    return redirect("account")
