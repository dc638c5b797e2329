"""What the laboratory is, what it has, and what it will do: modules, devices, stocks, places, plan."""

from __future__ import annotations

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from octolab.api.serializers import StrictSerializer, body, query
from octolab.api.views import ApiView, asker
from octolab.labtime import clock
from scheduler import catalogue
from scheduler.models import Device, Job, Leader, Module, Place, Stock
from scheduler.services import requests, versions
from scheduler.states import DeviceState
from users.models import LabRole, Scope, User
from users.permissions import needs

from . import bars, verbs
from .outputs import MomentField, WishOutput

_TAG = ["lab"]
_READ = needs(Scope.DEVICES_READ)


class TaskInfo(serializers.Serializer[Any]):
    """A task that a module offers."""

    name = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    parameters = serializers.JSONField(help_text="JSON Schema; numbers carry their `unit`.")
    results = serializers.ListField(child=serializers.JSONField(), help_text="Name, dtype, unit and shape.")
    sample = serializers.CharField()


class ModuleOutput(serializers.Serializer[Any]):
    """A module of the lab."""

    id = serializers.CharField()
    title = serializers.CharField()
    description = serializers.CharField()
    package = serializers.CharField()
    version = serializers.CharField()
    manifest = serializers.CharField(allow_null=True, help_text="Hash of the manifest; null if no host has served it.")
    devices = serializers.ListField(child=serializers.CharField())
    tasks = TaskInfo(many=True)


class Modules(ApiView):
    """The modules of the lab."""

    access = {"GET": _READ}

    @extend_schema(operation_id="modules_list", responses=ModuleOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the modules with the tasks that they offer."""
        rows = Module.objects.select_related("manifest").order_by("id")
        return Response([_module(row) for row in rows])


class ModuleDetail(ApiView):
    """One module."""

    access = {"GET": _READ}

    @extend_schema(operation_id="modules_get", responses=ModuleOutput, tags=_TAG)
    def get(self, request: Request, module_id: str) -> Response:
        """Show a module with the tasks that it offers."""
        return Response(_module(get_object_or_404(Module.objects.select_related("manifest"), pk=module_id)))


def _module(row: Module) -> dict[str, Any]:
    lab = catalogue.current().lab
    section = lab.modules.get(row.pk)
    document: dict[str, Any] = row.manifest.document if row.manifest is not None else {}
    return {
        "id": row.pk,
        "title": (section.title if section else "") or document.get("title", row.pk),
        "description": document.get("description", ""),
        "package": document.get("package", section.package if section else ""),
        "version": document.get("version", ""),
        "manifest": row.manifest_id,
        "devices": sorted({device for name in document.get("devices", ()) for device in lab.device_ids(row.pk, name)})
        if section
        else [],
        "tasks": [
            {key: task.get(key) for key in ("name", "title", "description", "parameters", "results", "sample")}
            for task in document.get("tasks", ())
        ],
    }


class DeviceOutput(serializers.ModelSerializer[Device]):
    """A device and its state."""

    modules = serializers.ListField(child=serializers.CharField(), read_only=True)
    state = serializers.ChoiceField(DeviceState.choices, read_only=True)

    class Meta:
        model = Device
        fields = ("id", "title", "host", "modules", "state", "reason", "since_at")
        read_only_fields = fields


class Devices(ApiView):
    """The devices of the lab."""

    access = {"GET": _READ}

    @extend_schema(operation_id="devices_list", responses=DeviceOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the devices with their states."""
        return Response(DeviceOutput(Device.objects.order_by("id"), many=True).data)


class PlanQuery(StrictSerializer):
    """Which stretch of the plan."""

    begin = serializers.FloatField(required=False, help_text="Lab seconds; steps that end earlier are left out.")
    end = serializers.FloatField(required=False, help_text="Lab seconds; steps that start later are left out.")


class PlannedOutput(serializers.Serializer[Any]):
    """One bar of the plan. Of other people's work only times and devices are shown."""

    busy = serializers.BooleanField(help_text="True for work that you may not see.")
    devices = serializers.DictField(child=serializers.CharField())
    start = MomentField("start_lab_s")
    end = MomentField("end_lab_s")
    step = serializers.UUIDField(required=False)
    job = serializers.UUIDField(required=False)
    job_name = serializers.CharField(required=False)
    name = serializers.CharField(required=False)
    module = serializers.CharField(required=False)
    state = serializers.CharField(required=False)
    samples = serializers.ListField(child=serializers.CharField(), required=False)
    expected = serializers.BooleanField(
        required=False, help_text="True for a next cycle of a closed loop: nothing of it is submitted yet."
    )


class PlanVersionOutput(serializers.Serializer[Any]):
    """A plan as it was published. What was not judged before the next came has no objective and no bound."""

    version = serializers.IntegerField()
    made_at = serializers.DateTimeField()
    made = MomentField("lab_s")
    method = serializers.ChoiceField(["insert", "repair", "search"])
    sentence = serializers.CharField(help_text="What it changed.")
    steps_moved = serializers.IntegerField()
    steps_added = serializers.IntegerField()
    objective = serializers.DictField(
        child=serializers.FloatField(), allow_null=True, help_text="What plans are compared by, in this order."
    )
    bound_s = serializers.FloatField(allow_null=True, help_text="Its weighted flow cannot be less, lab seconds.")
    gap = serializers.FloatField(allow_null=True, help_text="How far it is from the bound at most, as a share of it.")
    weights = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Weights of your jobs that had not begun, as the plan used them; if many waited, with one "
        "version a minute.",
    )


class Plan(ApiView):
    """The plan."""

    access = {"GET": _READ}

    @extend_schema(
        operation_id="plan",
        parameters=[PlanQuery],
        responses=inline_serializer(
            "Plan",
            {
                "version": serializers.IntegerField(),
                "now_lab_s": serializers.FloatField(allow_null=True),
                "published": PlanVersionOutput(allow_null=True),
                "steps": PlannedOutput(many=True),
            },
        ),
        tags=_TAG,
    )
    def get(self, request: Request) -> Response:
        """Show what runs and what is planned. Other people's work is *busy*, without names."""
        wish = query(PlanQuery, request)
        now = clock()
        return Response(
            {
                "version": Leader.objects.values_list("plan_version", flat=True).first() or 0,
                "now_lab_s": round(now.now(), 3) if now else None,
                "published": _published(asker(request)),
                "steps": bars.planned(asker(request), **wish),
            }
        )


def _published(user: User) -> Any:
    found = versions.latest(user)
    return None if found is None else PlanVersionOutput(found).data


class PlanVersions(ApiView):
    """Earlier versions of the plan."""

    access = {"GET": _READ}

    @extend_schema(operation_id="plan_versions", responses=PlanVersionOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the last hundred published plans, newest first: what each changed, and how good it was."""
        return Response(PlanVersionOutput(versions.newest(asker(request), 100), many=True).data)


class StockOutput(serializers.ModelSerializer[Stock]):
    """A consumable."""

    available = serializers.SerializerMethodField(help_text="What is neither used nor reserved by accepted jobs.")

    class Meta:
        model = Stock
        fields: tuple[str, ...] = (
            *(
                "id",
                "title",
                "unit",
                "level",
                "reserved",
                "available",
                "warn_below",
                "solution",
                "concentration",
                "lot",
            ),
        )
        read_only_fields: tuple[str, ...] = fields

    def get_available(self, stock: Stock) -> float:
        """Return what is left for new jobs."""
        return stock.level - stock.reserved


class Stocks(ApiView):
    """The consumables of the lab."""

    access = {"GET": _READ}

    @extend_schema(operation_id="stocks_list", responses=StockOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the consumables: what is there, and what accepted jobs still need."""
        return Response(StockOutput(Stock.objects.order_by("id"), many=True).data)


class RefillInput(StrictSerializer):
    """What was added to a stock, or what it holds now."""

    amount = serializers.FloatField(
        required=False, min_value=0, max_value=1e12, help_text="What was added, in the stock's unit."
    )
    level = serializers.FloatField(
        required=False, min_value=0, max_value=1e12, help_text="What it holds now, in the stock's unit."
    )
    lot = serializers.CharField(required=False, default="", allow_blank=True, max_length=100)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Require one of both figures."""
        if ("amount" in attrs) == ("level" in attrs):
            raise serializers.ValidationError(
                {"level": ["Tell either the `amount` that was added or the new `level`."]}
            )
        return attrs


class Refill(ApiView):
    """Refilling a stock."""

    access = {"POST": needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)}
    problems = {"POST": (409,)}

    @extend_schema(operation_id="stocks_refill", request=RefillInput, responses={202: WishOutput}, tags=_TAG)
    def post(self, request: Request, stock_id: str) -> Response:
        """Tell what a stock holds after it was refilled. Operators."""
        stock = get_object_or_404(Stock, pk=stock_id)
        wish = body(RefillInput, request)
        with verbs.as_problems():
            answer = requests.refill(asker(request), stock, **wish, wait_s=0)
        return verbs.wished(request, answer)


class PlaceOutput(serializers.Serializer[Any]):
    """A place, and what stands there."""

    name = serializers.CharField(help_text="What the lab calls it, as jobs name it: `vial_storage.2.6`.")
    resource = serializers.CharField()
    place = serializers.IntegerField(help_text="Number of the place, from 1.")
    taken = serializers.BooleanField()
    since = MomentField("since_lab_s")
    sample = serializers.UUIDField(allow_null=True, help_text="Null if free, or another's.")
    sample_name = serializers.CharField(allow_null=True)
    job = serializers.UUIDField(allow_null=True)


class Storage(ApiView):
    """The places of the lab."""

    access = {"GET": _READ}

    @extend_schema(operation_id="storage_list", responses=PlaceOutput(many=True), tags=_TAG)
    def get(self, request: Request) -> Response:
        """List the places, and which samples of yours stand there. Other people's are *taken*, without names.

        Operators see all samples: they are the ones who empty the places.
        """
        rows = list(Place.objects.select_related("sample").order_by("resource", "index"))
        jobs = {row.sample.job_id for row in rows if row.sample is not None}
        mine = set(Job.objects.visible_to(asker(request)).filter(pk__in=jobs).values_list("pk", flat=True))
        operates = asker(request).operates()
        places = []
        for row in rows:
            sample = row.sample if row.sample is not None and (operates or row.sample.job_id in mine) else None
            places.append(
                {
                    "name": catalogue.current().place_name(row.resource, row.index),
                    "resource": row.resource,
                    "place": row.index + 1,
                    "taken": row.sample_id is not None,
                    "since_lab_s": row.since_lab_s,
                    "sample": sample.pk if sample else None,
                    "sample_name": sample.name if sample else None,
                    "job": sample.job_id if sample else None,
                }
            )
        return Response(PlaceOutput(places, many=True).data)
