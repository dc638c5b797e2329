"""Channels over REST: where you want to be told. Their URLs hold secrets and are never returned."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from users.models import Scope
from users.permissions import needs

from . import services, targets
from .models import Channel, Notification

_TAG = ["channels"]


class ChannelInput(StrictSerializer):
    """A new channel."""

    name = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    url = serializers.CharField(max_length=targets.MAX_LENGTH, write_only=True, help_text="A URL of apprise.")
    events = serializers.ListField(
        child=serializers.ChoiceField(services.EVENTS), default=list, max_length=10, help_text="None for all."
    )


class LastMessage(serializers.Serializer[Notification]):
    """How the last message fared."""

    created_at = serializers.DateTimeField()
    event = serializers.CharField()
    state = serializers.SerializerMethodField()
    tries = serializers.IntegerField()
    error = serializers.CharField()

    def get_state(self, notification: Notification) -> str:
        """Return ``delivered``, ``gave_up`` or ``waiting``."""
        if notification.delivered_at:
            return "delivered"
        return "gave_up" if notification.gave_up_at else "waiting"


class ChannelOutput(serializers.Serializer[Channel]):
    """A channel, without its URL."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    service = serializers.SerializerMethodField()
    events = serializers.ListField(child=serializers.CharField())
    enabled = serializers.BooleanField()
    last = serializers.SerializerMethodField()

    def get_service(self, channel: Channel) -> str:
        """Return the service's name."""
        return targets.service_of(channel.url)

    def get_last(self, channel: Channel) -> dict[str, Any] | None:
        """Return how the last message fared."""
        last = Notification.objects.filter(channel=channel).order_by("-created_at", "-id").first()
        return dict(LastMessage(last).data) if last else None


class Channels(ApiView):
    """The asker's channels."""

    access = {"GET": needs(Scope.JOBS_READ), "POST": needs(Scope.JOBS_WRITE)}

    @extend_schema(operation_id="channels_list", responses=ChannelOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List your channels."""
        channels = Channel.objects.filter(user=asker(request)).order_by("id")
        return Response([ChannelOutput(channel).data for channel in channels])

    @extend_schema(operation_id="channels_create", request=ChannelInput, responses={201: ChannelOutput}, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Add a channel."""
        wish = body(ChannelInput, request)
        try:
            channel = services.create_channel(asker(request), wish["name"], wish["url"], wish["events"])
        except services.ChannelError as error:
            raise invalid((f"/{error.path}", str(error))) from error
        return Response(ChannelOutput(channel).data, status=201)


class ChannelDetail(ApiView):
    """One of the asker's channels."""

    access = {"GET": needs(Scope.JOBS_READ), "DELETE": needs(Scope.JOBS_WRITE)}

    @extend_schema(operation_id="channels_get", responses=ChannelOutput, tags=_TAG)
    def get(self, request: Request, channel_id: UUID) -> Response:
        """Get a channel, and how its last message fared."""
        return Response(ChannelOutput(_own(request, channel_id)).data)

    @extend_schema(operation_id="channels_delete", responses={204: None}, tags=_TAG)
    def delete(self, request: Request, channel_id: UUID) -> Response:
        """Delete a channel and the messages that wait for it."""
        services.delete_channel(_own(request, channel_id))
        return Response(status=204)


class ChannelTest(ApiView):
    """A test of a channel."""

    access = {"POST": needs(Scope.JOBS_WRITE)}

    @extend_schema(operation_id="channels_test", request=None, responses={202: LastMessage}, tags=_TAG)
    def post(self, request: Request, channel_id: UUID) -> Response:
        """Send a test message. How it fares stands in the channel's `last`."""
        notification = services.send_test(_own(request, channel_id))
        return Response(LastMessage(notification).data, status=202)


def _own(request: Request, channel_id: UUID) -> Channel:
    return get_object_or_404(Channel, pk=channel_id, user=asker(request))
