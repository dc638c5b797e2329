"""The outbox: what is still to be told, and to whom."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from octolab.ids import new_id


class Channel(models.Model):
    """Where a user wants to be told: an apprise URL."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="channels")
    name = models.CharField(max_length=100)
    url = models.TextField()
    """Holds credentials: never shown whole, never logged."""
    events = models.JSONField(default=list)
    """Of ``finished``, ``failed``, ``cancelled``, ``needs_operator``; empty for all."""
    enabled = models.BooleanField(default=True)


class Notification(models.Model):
    """One message to one channel. Written in the transaction that changed the state; delivered later."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="notifications")
    channel = models.ForeignKey(Channel, null=True, on_delete=models.CASCADE)
    event = models.CharField(max_length=40)
    job = models.ForeignKey("scheduler.Job", null=True, on_delete=models.CASCADE)
    title = models.CharField(max_length=200)
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    next_try_at = models.DateTimeField(auto_now_add=True, db_index=True)
    tries = models.IntegerField(default=0)
    delivered_at = models.DateTimeField(null=True)
    gave_up_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, default="")
