"""Rules and shares of projects over REST."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from users.models import LabRole, Project, Scope
from users.permissions import needs
from users.services import AccountError

from .rules import rules_of, set_rules


class RangeInput(StrictSerializer):
    """What a parameter may be, in the unit of the module's description."""

    min = serializers.FloatField(required=False, allow_null=True)
    max = serializers.FloatField(required=False, allow_null=True)


class RulesFields(StrictSerializer):
    """Rules. What is left out is as if it had never been set."""

    allow = serializers.ListField(child=serializers.CharField(max_length=130), required=False, allow_null=True)
    deny = serializers.ListField(child=serializers.CharField(max_length=130), required=False)
    ranges = serializers.DictField(child=RangeInput(), required=False, help_text="`module.task.parameter`: its range.")
    approve = serializers.ListField(child=serializers.CharField(max_length=130), required=False)
    approve_agents = serializers.BooleanField(required=False)


class RulesInput(RulesFields):
    """A project's own rules; nothing for the lab's usual ones. The share stays if it is left out."""

    share = serializers.FloatField(required=False, min_value=0.001, max_value=1000)


class RulesOutput(serializers.Serializer[Any]):
    """The rules that hold for a project."""

    own = serializers.BooleanField(help_text="Whether they are its own, and not the lab's usual ones.")
    allow = serializers.ListField(child=serializers.CharField(), allow_null=True)
    deny = serializers.ListField(child=serializers.CharField())
    ranges = serializers.DictField(child=serializers.DictField(child=serializers.FloatField(allow_null=True)))
    approve = serializers.ListField(child=serializers.CharField())
    approve_agents = serializers.BooleanField()
    share = serializers.FloatField()
    unknown = serializers.ListField(
        child=serializers.CharField(),
        help_text="Names that the lab does not have at present: a typing error, or a module that is away.",
    )


class ProjectRules(ApiView):
    """What a project's jobs may use."""

    access = {"GET": needs(Scope.JOBS_READ), "PUT": needs(Scope.ADMIN, lab_role=LabRole.Role.ADMIN)}

    @extend_schema(operation_id="projects_rules", responses=RulesOutput, tags=["people"])
    def get(self, request: Request, slug: str) -> Response:
        """Show what a project's jobs may use, what is to be approved, and its share. Members and lab admins."""
        found = Project.objects.all() if asker(request).is_lab_admin else Project.objects.visible_to(asker(request))
        return Response(_shown(get_object_or_404(found, slug=slug)))

    @extend_schema(operation_id="projects_rules_set", request=RulesInput, responses=RulesOutput, tags=["admin"])
    def put(self, request: Request, slug: str) -> Response:
        """Set what a project's jobs may use, what is to be approved, and its share. Lab admins."""
        project = get_object_or_404(Project, slug=slug)
        wish = body(RulesInput, request)
        share = wish.pop("share", None)
        try:
            set_rules(project, wish, share=share)
        except AccountError as error:
            raise invalid((f"/{error.path}", str(error))) from error
        return Response(_shown(Project.objects.get(pk=project.pk)))


def _shown(project: Project) -> dict[str, Any]:
    from scheduler.services.approval import unknown_names

    rules = rules_of(project)
    return {
        "own": bool(project.policy),
        **rules.model_dump(mode="json"),
        "share": project.share,
        "unknown": unknown_names(rules),
    }
