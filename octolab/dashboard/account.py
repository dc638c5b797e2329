"""The account page: tokens, and where to be told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from notifications.models import Channel, Notification
from notifications.services import EVENTS, ChannelError, create_channel, send_test
from notifications.services import delete_channel as remove_channel
from users import services
from users.models import Project, Scope, Token, User

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
            "tokens": Token.objects.filter(user=asker(request)).select_related("project").order_by("-created"),
            "projects": Project.objects.visible_to(asker(request)).order_by("slug"),
            "scopes": Scope.choices,
            "usual": services.DEFAULT_SCOPES,
            "channels": _channels(asker(request)),
            "events": EVENTS,
        },
    )


@login_required
@require_POST
@never_cache
def new_token(request: HttpRequest) -> HttpResponse:
    """Create a token for programs and show it once."""
    form, user = request.POST, asker(request)
    try:
        if not form.getlist("scopes"):
            raise services.AccountError("scopes", "Choose what the token may do.")
        _, secret = services.create_token(
            user,
            form.get("name", "").strip()[:100] or "token",
            form.getlist("scopes"),
            project=_project(user, form.get("project", "")),
            expires_at=timezone.now() + timedelta(days=VALID_DAYS.get(form.get("days", ""), 30)),
            agent="agent" in form,
        )
    except services.AccountError as error:
        messages.error(request, str(error), extra_tags="bad")
        return redirect("account")
    return account(request, secret=secret)


def _project(user: User, slug: str) -> Project | None:
    if not slug:
        return None
    found = Project.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise services.AccountError("project", "You are no member of such a project.")
    return found


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
        form = request.POST
        create_channel(asker(request), form.get("name", ""), form.get("url", ""), form.getlist("events"))
    except ChannelError as error:
        messages.error(request, str(error), extra_tags="bad")
    return redirect("account")


def _channels(user: User) -> list[dict[str, Any]]:
    """Return where the user is told, and how the last message fared there."""
    channels = Channel.objects.filter(user=user).order_by("name")
    sent = Notification.objects.filter(channel__in=channels).order_by("created_at", "id")
    last = {message.channel_id: message for message in sent}
    return [{"channel": channel, "last": last.get(channel.pk)} for channel in channels]


@login_required
@require_POST
def test_channel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send a message that shows whether a channel works."""
    send_test(get_object_or_404(Channel, user=asker(request), pk=pk))
    messages.success(
        request, "A test message is on its way. Load this page again to see how it fared.", extra_tags="ok"
    )
    return redirect("account")


@login_required
@require_POST
def delete_channel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Remove a place to be told at."""
    remove_channel(get_object_or_404(Channel, user=asker(request), pk=pk))
    return redirect("account")
