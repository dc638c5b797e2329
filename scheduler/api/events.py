"""The event log over REST: who cannot hold a websocket reads on from a sequence number."""

from __future__ import annotations

import asyncio
from typing import Any

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.db.models import Q, QuerySet
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from octolab import bell, throttle
from octolab.api.serializers import MAX_INTEGER, StrictSerializer, query
from octolab.api.views import ApiView, asker
from octolab.later import Better, InThread, Later, improve
from octolab.live.rights import LAB_KINDS, Receiver, present_rights
from scheduler.models import Event, Leader
from users.models import Project, Scope, Token, User
from users.permissions import needs

from .outputs import EventOutput


class EventQuery(StrictSerializer):
    """Which events."""

    since = serializers.IntegerField(
        default=0, min_value=0, max_value=MAX_INTEGER, help_text="Events behind this sequence number."
    )
    limit = serializers.IntegerField(default=200, min_value=1, max_value=1000)
    job = serializers.UUIDField(required=False)
    wait = serializers.FloatField(
        default=0, min_value=0, max_value=30, help_text="If there are none, wait for some; seconds."
    )


class Events(ApiView):
    """Changes of states, in the order in which they happened."""

    access = {"GET": needs(Scope.JOBS_READ)}

    @extend_schema(
        operation_id="events_list",
        parameters=[EventQuery],
        responses=inline_serializer(
            "Events",
            {
                "results": EventOutput(many=True),
                "last": serializers.IntegerField(help_text="Pass it as `since` next time."),
            },
        ),
        tags=["jobs"],
    )
    def get(self, request: Request) -> Response:
        """List the events that you may see, of your projects' jobs and of the lab's devices and stocks."""
        wish = query(EventQuery, request)
        user = asker(request)
        answer = _answer(user, wish)
        response = Response(answer)
        if wish["wait"] and not answer["results"]:
            improve(response, _wait(user, _receiver(request), wish))
        return response


def _receiver(request: Request) -> Receiver:
    if isinstance(request.auth, Token):
        return Receiver(request.auth.user_id, token_digest=request.auth.pk)
    session = request._request.session
    return Receiver(asker(request).pk, session_key=session.session_key, session_hash=session.get(HASH_SESSION_KEY))


def _wait(user: User, receiver: Receiver, wish: dict[str, Any]) -> Later:
    def look() -> bytes | None:
        # Account, token, session or membership may have ended while it waited.
        if not present_rights([receiver])[receiver].alive:
            return None
        fresh = User.objects.get(pk=user.pk)
        fresh.only_project_id = user.only_project_id
        found = _answer(fresh, wish)
        return JSONRenderer().render(found) if found["results"] else None

    async def wait(in_thread: InThread) -> Better | None:
        try:
            with throttle.WAITING.one_of(f"user:{user.pk}", settings.SOCKETS_PER_USER):
                return await until_something_happens(in_thread)
        except throttle.TooMany:
            # Who waits so many times at once is looked after but at the end of each.
            await asyncio.sleep(wish["wait"])
            body = await in_thread(look)
            return None if body is None else Better(body)

    async def until_something_happens(in_thread: InThread) -> Better | None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + wish["wait"]
        while (left_s := until_s - loop.time()) > 0:
            # A ring may be lost: look once a second all the same.
            await bell.events().wait(min(left_s, 1.0))
            if (body := await in_thread(look)) is not None:
                return Better(body)
        return None

    return wait


def visible_events(user: User) -> QuerySet[Event]:
    """Return the events that a user may see."""
    return Event.objects.filter(
        Q(project__in=Project.objects.visible_to(user)) | Q(project=None, job=None, kind__in=LAB_KINDS)
    )


def _answer(user: User, wish: dict[str, Any]) -> dict[str, Any]:
    # Before the events: what is committed in between is told next time, and nothing is skipped.
    head = Leader.objects.values_list("last_event_seq", flat=True).first() or 0
    events = visible_events(user).filter(seq__gt=wish["since"]).order_by("seq")
    if "job" in wish:
        events = events.filter(job=wish["job"])
    found = list(events[: wish["limit"]])
    for event in found:
        if event.project_id is None and not user.operates():
            event.actor, event.reason, event.data = "", "", {}
    last = found[-1].seq if len(found) == wish["limit"] else max(head, wish["since"], found[-1].seq if found else 0)
    return {"results": EventOutput(found, many=True).data, "last": last}
