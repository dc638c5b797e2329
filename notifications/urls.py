"""The routes of channels, below ``/api/v1/``."""

from __future__ import annotations

from django.urls import path

from .views import ChannelDetail, Channels, ChannelTest

urlpatterns = [
    path("channels", Channels.as_view(), name="channels"),
    path("channels/<uuid:channel_id>", ChannelDetail.as_view(), name="channel"),
    path("channels/<uuid:channel_id>/test", ChannelTest.as_view(), name="channel-test"),
]
