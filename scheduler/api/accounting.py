"""What was used, and what may be used, over REST."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiTypes, extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.errors import invalid
from octolab.api.serializers import StrictSerializer, body, query
from octolab.api.views import ApiView, asker
from scheduler.accounting.report import Line, as_csv, report, units
from scheduler.services.limits import Limit, limits
from users.models import LabPolicy, LabRole, Project, Quota, Scope, User
from users.permissions import my_project, needs
from users.policies.api import RulesFields
from users.policies.models import MOST_HOURS, MOST_JOBS
from users.policies.services import change_policy, set_quota
from users.services import AccountError

_ADMIN = needs(Scope.ADMIN, lab_role=LabRole.Role.ADMIN)
_READ = needs(Scope.JOBS_READ)


class AccountingQuery(StrictSerializer):
    """Which use."""

    since = serializers.RegexField(r"^\d{4}-(0[1-9]|1[0-2])\Z", required=False, help_text="First month, as 2026-01.")
    until = serializers.RegexField(r"^\d{4}-(0[1-9]|1[0-2])\Z", required=False, help_text="Last month.")
    project = serializers.SlugField(required=False, max_length=64)
    user = serializers.CharField(required=False, max_length=150, help_text="A user name, or `me`.")


class LineOutput(serializers.Serializer[Line]):
    """What one user has used for one project in one month."""

    month = serializers.CharField()
    project = serializers.CharField()
    user = serializers.CharField()
    module_hours = serializers.FloatField(help_text="Of all modules together, hours of lab time.")
    modules = serializers.DictField(child=serializers.FloatField(), help_text="Module: hours of lab time.")
    samples = serializers.DictField(child=serializers.IntegerField(), help_text="Final state: number of samples.")
    consumables = serializers.DictField(child=serializers.FloatField(), help_text="Stock: amount in its unit.")


_ACCOUNTING = inline_serializer(
    "Accounting",
    {
        "units": serializers.DictField(child=serializers.CharField(), help_text="Stock: its unit."),
        "results": LineOutput(many=True),
    },
)


def lines_of(request: Request) -> list[Line]:
    """Return what was asked for, as far as the asker may see it."""
    wish = query(AccountingQuery, request)
    user = wish.get("user", "")
    return report(
        asker(request),
        _month(wish.get("since"), "?since"),
        _month(wish.get("until"), "?until"),
        wish.get("project", ""),
        asker(request).username if user == "me" else user,
    )


def _month(text: str | None, where: str) -> date | None:
    try:
        return None if text is None else datetime.strptime(text, "%Y-%m").date()  # noqa: DTZ007 - a month has no zone
    except ValueError as error:
        raise invalid((where, "This month is out of reach.")) from error


class Accounting(ApiView):
    """What was used."""

    access = {"GET": _READ}

    @extend_schema(operation_id="accounting", parameters=[AccountingQuery], responses=_ACCOUNTING, tags=["accounting"])
    def get(self, request: Request) -> Response:
        """List module time, samples and consumables by month, project and user: of your projects; admins see all."""
        return Response({"units": units(), "results": [LineOutput(line).data for line in lines_of(request)]})


class CSVRenderer(BaseRenderer):
    """A table."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """Return the table's text."""
        return str(data).encode()


class AccountingTable(ApiView):
    """What was used, as a table."""

    access = {"GET": _READ}
    renderer_classes = (CSVRenderer, JSONRenderer)

    @extend_schema(
        operation_id="accounting_csv",
        parameters=[AccountingQuery],
        responses={(200, "text/csv"): OpenApiTypes.STR},
        tags=["accounting"],
    )
    def get(self, request: Request) -> HttpResponse:
        """Get the same as a table: a column for each module and stock, units in the heading."""
        return csv_response(lines_of(request))


def csv_response(lines: list[Line]) -> HttpResponse:
    """Return a table as a download."""
    headers = {"Content-Disposition": 'attachment; filename="accounting.csv"'}
    return HttpResponse(as_csv(lines), content_type="text/csv; charset=utf-8", headers=headers)


class LimitOutput(serializers.Serializer[Limit]):
    """A quota, and how much of it is used."""

    of = serializers.ChoiceField(["user", "project"])
    name = serializers.CharField()
    open_jobs = serializers.IntegerField()
    most_open_jobs = serializers.IntegerField(allow_null=True)
    module_hours = serializers.FloatField(help_text="Used this month, and still needed by open jobs.", allow_null=True)
    most_module_hours = serializers.FloatField(allow_null=True, help_text="In a calendar month; null for no limit.")


class QuotasQuery(StrictSerializer):
    """For which project."""

    project = serializers.SlugField(required=False, max_length=64, help_text="Short name; your personal one if absent.")


class MyQuotas(ApiView):
    """What the asker may use."""

    access = {"GET": _READ}

    @extend_schema(
        operation_id="quotas", parameters=[QuotasQuery], responses=LimitOutput(many=True), tags=["accounting"]
    )
    def get(self, request: Request) -> Response:
        """Show your quota and a project's, and how much of them is used."""
        mine = my_project(asker(request), query(QuotasQuery, request).get("project"))
        if mine is None:
            raise invalid(("?project", "There is no such project among yours."))
        return Response([LimitOutput(limit).data for limit in limits(asker(request), mine[0], always_hours=True)])


class QuotaInput(StrictSerializer):
    """A quota; null for what is usual in the lab."""

    open_jobs = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST_JOBS)
    module_hours = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=MOST_HOURS)


class QuotaOutput(serializers.ModelSerializer[Quota]):
    """A quota; null for what is usual in the lab."""

    class Meta:
        model = Quota
        fields = ("open_jobs", "module_hours")
        read_only_fields = fields


class UserQuota(ApiView):
    """A user's quota."""

    access = {"PUT": _ADMIN}

    @extend_schema(operation_id="quotas_user", request=QuotaInput, responses=QuotaOutput, tags=["admin"])
    def put(self, request: Request, username: str) -> Response:
        """Set how much a user may use. Lab admins."""
        return Response(QuotaOutput(_set(get_object_or_404(User, username=username), body(QuotaInput, request))).data)


class ProjectQuota(ApiView):
    """A project's quota."""

    access = {"PUT": _ADMIN}

    @extend_schema(operation_id="quotas_project", request=QuotaInput, responses=QuotaOutput, tags=["admin"])
    def put(self, request: Request, slug: str) -> Response:
        """Set how much a project may use. Lab admins."""
        return Response(QuotaOutput(_set(get_object_or_404(Project, slug=slug), body(QuotaInput, request))).data)


def _set(of: User | Project, wish: dict[str, Any]) -> Quota:
    try:
        return set_quota(of, **wish)
    except AccountError as error:
        raise invalid((f"/{error.path}", str(error))) from error


class PolicyInput(StrictSerializer):
    """Settings of the lab."""

    sign_up = serializers.ChoiceField(LabPolicy.SignUp.choices, required=False)
    mfa_for = serializers.ListField(
        child=serializers.ChoiceField(["operator", "admin", "user"]), required=False, max_length=3
    )
    open_jobs_per_user = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST_JOBS)
    open_jobs_per_project = serializers.IntegerField(required=False, allow_null=True, min_value=0, max_value=MOST_JOBS)
    module_hours_per_user = serializers.FloatField(required=False, allow_null=True, min_value=0, max_value=MOST_HOURS)
    module_hours_per_project = serializers.FloatField(
        required=False, allow_null=True, min_value=0, max_value=MOST_HOURS
    )
    rules = RulesFields(required=False, help_text="Of projects that have none of their own.")
    half_life_h = serializers.FloatField(required=False, min_value=0.1, max_value=MOST_HOURS)


class PolicyOutput(serializers.ModelSerializer[LabPolicy]):
    """Settings of the lab."""

    mfa_for = serializers.ListField(child=serializers.CharField(), read_only=True)

    class Meta:
        model = LabPolicy
        fields = tuple(field.name for field in LabPolicy._meta.get_fields() if field.name != "id")
        read_only_fields = fields


class Policy(ApiView):
    """What holds for everybody in the lab."""

    access = {"GET": _ADMIN, "PATCH": _ADMIN}

    @extend_schema(operation_id="lab_policy", responses=PolicyOutput, tags=["admin"])
    def get(self, request: Request) -> Response:
        """Show the lab's settings. Lab admins."""
        return Response(PolicyOutput(LabPolicy.current()).data)

    @extend_schema(operation_id="lab_policy_change", request=PolicyInput, responses=PolicyOutput, tags=["admin"])
    def patch(self, request: Request) -> Response:
        """Change the lab's settings. Lab admins."""
        try:
            return Response(PolicyOutput(change_policy(**body(PolicyInput, request))).data)
        except AccountError as error:
            raise invalid((f"/{error.path}", str(error))) from error
