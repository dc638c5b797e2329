"""Invitations."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from octolab.ids import new_id


class Invitation(models.Model):
    """A link by which one person may make an account. The link's secret is kept hashed."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    email = models.EmailField()
    digest = models.CharField(max_length=64, unique=True)
    project = models.ForeignKey("users.Project", null=True, blank=True, on_delete=models.CASCADE)
    """Where the new user becomes a member."""
    invited_by = models.CharField(max_length=150)
    made_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "users"


class SignUp(models.Model):
    """Somebody who waits until an admin lets them in."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sign_up")
    made_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "users"
