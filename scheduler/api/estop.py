"""The emergency stop over REST."""

from __future__ import annotations

import asyncio
from typing import Any

from drf_spectacular.utils import extend_schema, inline_serializer
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from analysis.documents import StoreError
from modules.contract.messages import Latch
from octolab.api.errors import Problem, invalid
from octolab.api.serializers import StrictSerializer, body
from octolab.api.views import ApiView, asker
from octolab.later import Better, InThread, improve
from scheduler.services import estop
from users.models import LabRole, Scope
from users.permissions import LOGGED_IN, needs

_TAG = ["emergency stop"]


class ConfirmationOutput(serializers.Serializer[Any]):
    """Whether a device is known to be in its safe state."""

    device = serializers.CharField()
    confirmed = serializers.BooleanField(help_text="Only if true is the device known to be safe.")
    reported = serializers.BooleanField(help_text="Whether its host has said anything about it.")
    text = serializers.CharField(help_text="Why it is not confirmed.")
    took_s = serializers.FloatField(allow_null=True, help_text="From the host hearing of it to the confirmation.")


class LatchOutput(serializers.Serializer[Any]):
    """The emergency stop of the lab or of a module."""

    scope = serializers.CharField(help_text="`lab` or a module.")
    tripped = serializers.BooleanField()
    actor = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()
    serial = serializers.IntegerField()
    stored = serializers.BooleanField(help_text="Whether the document store has it; if not, it is tried again.")
    hosts_heard = serializers.IntegerField(allow_null=True, help_text="Hosts reached over Redis; null if not known.")
    all_confirmed = serializers.BooleanField()
    devices = ConfirmationOutput(many=True)


def shown(
    latch: Latch, devices: list[dict[str, Any]], *, stored: bool = True, heard: int | None = None
) -> dict[str, Any]:
    """Return a latch as the API shows it."""
    return {
        "scope": latch.scope,
        "tripped": latch.tripped,
        "actor": latch.actor,
        "reason": latch.reason,
        "at": latch.at.isoformat(),
        "serial": latch.serial,
        "stored": stored,
        "hosts_heard": heard,
        "all_confirmed": all(row["confirmed"] for row in devices),
        "devices": devices,
    }


class TripInput(StrictSerializer):
    """What is to be stopped."""

    scope = serializers.CharField(default=estop.LAB, max_length=64, help_text="`lab` (default), or a module.")
    reason = serializers.CharField(default="", allow_blank=True, max_length=1000)


class RearmInput(StrictSerializer):
    """What may move again."""

    scope = serializers.CharField(default=estop.LAB, max_length=64)
    note = serializers.CharField(max_length=2000, help_text="What was checked at the bench; kept for ever.")


class EmergencyStop(ApiView):
    """The emergency stop."""

    access = {"GET": LOGGED_IN, "POST": LOGGED_IN}
    problems = {"GET": (503,)}
    writes_nothing = True

    @extend_schema(
        operation_id="estop_list",
        responses=inline_serializer(
            "EmergencyStops",
            {"tripped": serializers.BooleanField(), "scopes": LatchOutput(many=True)},
        ),
        tags=_TAG,
    )
    def get(self, request: Request) -> Response:
        """Show every emergency stop that was ever tripped, and for tripped ones, which devices confirmed to be safe."""
        try:
            found = estop.latches()
        except StoreError as error:
            raise _away(error) from error
        rows = [shown(latch, estop.outcome(latch, estop.devices_in(latch.scope))) for latch in found]
        return Response({"tripped": any(latch.tripped for latch in found), "scopes": rows})

    @extend_schema(operation_id="estop_trip", request=TripInput, responses={200: LatchOutput}, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Stop a module or the whole lab: every device goes to its safe state, and nothing starts any more.

        Anybody may, with any credential. The answer waits at most 1.5 s for the devices' confirmations; what is not
        confirmed by then is listed as such and may still be moving. An emergency stop in software never replaces the
        button on the wall.
        """
        wish = body(TripInput, request)
        try:
            made = estop.trip(asker(request), wish["scope"], wish["reason"])
        except estop.UnknownScopeError as error:
            raise invalid(("/scope", str(error))) from error

        def answer() -> dict[str, Any]:
            return shown(made.latch, estop.confirmations(made), stored=made.stored, heard=made.heard)

        async def wait(in_thread: InThread) -> Better | None:
            # Not in the web's threads: they may all be waiting for the database, which is not needed here.
            await asyncio.to_thread(estop.wait_for_outcome, made)
            return Better(JSONRenderer().render(await asyncio.to_thread(answer)))

        return improve(Response(answer()), wait)


class Rearm(ApiView):
    """Re-arming the emergency stop."""

    access = {"POST": needs(Scope.DEVICES_CONTROL, lab_role=LabRole.Role.OPERATOR)}
    problems = {"POST": (409, 503)}

    @extend_schema(operation_id="estop_rearm", request=RearmInput, responses={200: LatchOutput}, tags=_TAG)
    def post(self, request: Request) -> Response:
        """Let a module or the lab move again: what is planned goes on at once. Operators only, with a note."""
        wish = body(RearmInput, request)
        try:
            latch = estop.rearm(asker(request), wish["scope"], wish["note"])
        except estop.UnknownScopeError as error:
            raise invalid(("/scope", str(error))) from error
        except estop.NotTrippedError as error:
            raise Problem(409, "not-tripped", str(error)) from error
        except StoreError as error:
            raise _away(error) from error
        return Response(shown(latch, []))


def _away(error: StoreError) -> Problem:
    detail = f"The document store is away, so the emergency stop's state is not known. What was tripped stays: {error}"
    return Problem(503, "store-away", detail, headers={"Retry-After": "2"})
