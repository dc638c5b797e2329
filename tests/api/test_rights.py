"""Every route by every kind of asker, generated from the URL table: a route without an entry here fails."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import transaction

from octolab.api.schema import api_views
from tests.cast import World
from users.permissions import Access, demanded

TEAM = frozenset({"owner", "member", "viewer", "lead"})
IN_CHARGE = frozenset({"owner", "lead"})
OPERATORS = frozenset({"operator"})
ADMINS = frozenset({"admin"})
OWNERS = frozenset({"owner", "elsewhere"})
"""Tokens of the one user, whatever their project."""
USERS = TEAM | {"operator", "admin", "outsider", "scopeless", "elsewhere"}
NO_CREDENTIAL = frozenset({"anonymous", "deactivated", "removed"})
EVERYBODY = USERS | NO_CREDENTIAL


@dataclass(frozen=True)
class Case:
    """What a route answers to whom."""

    answers: int
    """To who may do it: the body may well be refused as invalid, when rights have been checked before."""
    may: frozenset[str] = USERS
    sees: frozenset[str] | None = None
    """Who may know that the object exists; None if there is no object, or one that all may know."""
    arguments: Callable[[World], Mapping[str, Any]] = field(default=lambda world: {})
    body: Mapping[str, Any] | None = None


def job(answers: int, may: frozenset[str] = TEAM, body: Mapping[str, Any] | None = None) -> Case:
    return Case(answers, may, TEAM | {"scopeless"}, lambda world: {"job_id": world.job.pk}, body)


def sample(answers: int, may: frozenset[str] = TEAM, body: Mapping[str, Any] | None = None) -> Case:
    return Case(answers, may, TEAM | {"scopeless"}, lambda world: {"sample_id": world.sample.pk}, body)


def step(answers: int, may: frozenset[str] = TEAM, body: Mapping[str, Any] | None = None) -> Case:
    return Case(answers, may, TEAM | {"scopeless"}, lambda world: {"step_id": world.step.pk}, body)


def team(answers: int, may: frozenset[str] = TEAM, body: Mapping[str, Any] | None = None, **arguments: Any) -> Case:
    return Case(answers, may, TEAM | {"scopeless"}, lambda world: {"slug": "team", **arguments}, body)


def channel(answers: int) -> Case:
    return Case(answers, OWNERS, OWNERS | {"scopeless"}, lambda world: {"channel_id": world.channel.pk})


def file(answers: int, **arguments: str) -> Case:
    return Case(answers, TEAM, TEAM | {"scopeless"}, lambda world: {"job_id": world.job.pk, **arguments})


CASES: dict[str, Case] = {
    "GET ": Case(200, EVERYBODY),
    "GET openapi.json": Case(200, EVERYBODY),
    "GET health": Case(200, EVERYBODY),
    "GET health/live": Case(200, EVERYBODY),
    # Everybody on this machine may read them, with or without credential: the tests of metrics look closer.
    "GET metrics": Case(200, USERS | {"anonymous"}),
    "GET me": Case(200),
    "GET tokens": Case(200),
    "POST tokens": Case(403, USERS, body={}),
    "DELETE tokens/<uuid:token_id>": Case(
        204,
        frozenset({"owner", "elsewhere"}),
        frozenset({"owner", "scopeless", "elsewhere"}),
        lambda w: {"token_id": w.owner.token and w.owner.token.uid},
    ),
    "GET projects": Case(200),
    "POST projects": Case(422, USERS, body={}),
    "GET projects/<slug:slug>": team(200, TEAM | {"scopeless"}),
    "PATCH projects/<slug:slug>": team(200, frozenset({"lead"}), {"shows_names": True}),
    "GET projects/<slug:slug>/rules": Case(
        200, TEAM | ADMINS, TEAM | ADMINS | {"scopeless"}, lambda world: {"slug": "team"}
    ),
    "PUT projects/<slug:slug>/rules": Case(200, ADMINS, None, lambda world: {"slug": "team"}, {"deny": ["bench"]}),
    "GET operator/approvals": Case(200, OPERATORS),
    "POST jobs/<uuid:job_id>/approve": Case(404, OPERATORS, OPERATORS, lambda w: {"job_id": w.job.pk}, {}),
    "POST jobs/<uuid:job_id>/reject": Case(404, OPERATORS, OPERATORS, lambda w: {"job_id": w.job.pk}, {"note": "x"}),
    "POST projects/<slug:slug>/members": team(422, frozenset({"lead"}), body={}),
    "DELETE projects/<slug:slug>/members/<str:username>": team(204, frozenset({"lead"}), username="viewer"),
    "GET jobs": Case(200),
    "POST jobs": Case(422, body={}),
    "POST jobs/preview": Case(422, body={}),
    "GET jobs/<uuid:job_id>": job(200),
    "PATCH jobs/<uuid:job_id>": job(202, IN_CHARGE, {"name": "better"}),
    "POST jobs/<uuid:job_id>/cancel": job(202, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/hold": job(202, IN_CHARGE, {"reason": "wait"}),
    # Nothing was held, so there is nothing to change.
    "POST jobs/<uuid:job_id>/release": job(202, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/pause": job(409, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/resume": job(409, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/stop": job(409, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/abort": job(409, IN_CHARGE, {}),
    "POST jobs/<uuid:job_id>/halt": Case(409, OPERATORS, OPERATORS, lambda w: {"job_id": w.job.pk}, {}),
    "GET jobs/<uuid:job_id>/verbs": job(200),
    "POST jobs/<uuid:job_id>/rerun": job(422, TEAM),
    "GET jobs/<uuid:job_id>/logs": job(200),
    "GET jobs/<uuid:job_id>/standing": job(200),
    "GET jobs/<uuid:job_id>/metrics": job(200),
    "GET metrics/predictions": Case(200),
    "GET plan/versions": Case(200),
    "POST plan/what-if": Case(422, body={"lose": ["no such device"]}),
    "GET jobs/<uuid:job_id>/why": job(200),
    "GET jobs/<uuid:job_id>/results": file(200),
    "GET jobs/<uuid:job_id>/results.csv": file(200),
    "GET jobs/<uuid:job_id>/files": file(200),
    "GET jobs/<uuid:job_id>/files/<str:name>": file(404, name="x.nxs"),
    "GET jobs/<uuid:job_id>/arrays/<str:reference>": file(404, reference="absorbance"),
    "GET channels": Case(200),
    "POST channels": Case(422, body={}),
    "GET channels/<uuid:channel_id>": channel(200),
    "DELETE channels/<uuid:channel_id>": channel(204),
    "POST channels/<uuid:channel_id>/test": channel(202),
    "GET schemas/job": Case(200),
    "GET audit": Case(200, ADMINS),
    "GET accounting": Case(200),
    "GET accounting.csv": Case(200),
    "GET quotas": Case(200),
    "PUT quotas/users/<str:username>": Case(200, ADMINS, None, lambda w: {"username": "member"}, {"open_jobs": 3}),
    "PUT quotas/projects/<slug:slug>": Case(200, ADMINS, None, lambda w: {"slug": "team"}, {"open_jobs": 3}),
    "GET lab/policy": Case(200, ADMINS),
    "PATCH lab/policy": Case(200, ADMINS, body={"sign_up": "approval"}),
    "GET events": Case(200),
    "GET modules": Case(200),
    "GET modules/<slug:module_id>": Case(200, arguments=lambda world: {"module_id": "bench"}),
    "GET devices": Case(200),
    "GET plan": Case(200),
    "GET stocks": Case(200),
    "POST stocks/<slug:stock_id>/refill": Case(202, OPERATORS, None, lambda w: {"stock_id": "vials"}, {"level": 5}),
    "GET storage": Case(200),
    "GET samples/<uuid:sample_id>": sample(200),
    # An operator empties the places, whosever the samples are.
    "POST samples/<uuid:sample_id>/collect": Case(
        202,
        IN_CHARGE | OPERATORS,
        TEAM | OPERATORS | {"scopeless"},
        lambda world: {"sample_id": world.sample.pk},
    ),
    "GET interlocks": Case(200),
    "POST interlocks/<slug:interlock_id>/acknowledge": Case(
        404, OPERATORS, None, lambda w: {"interlock_id": "nonsense"}, {"note": "seen"}
    ),
    "GET maintenance": Case(200),
    "POST maintenance": Case(202, OPERATORS, None, body={"target": "arm", "reason": "cleaning"}),
    "POST maintenance/<uuid:lock_id>/release": Case(202, OPERATORS, None, lambda w: {"lock_id": w.lock.pk}, {}),
    "POST devices/<slug:device_id>/clear": Case(202, OPERATORS, None, lambda w: {"device_id": "arm"}, {"note": "fine"}),
    "POST modules/<slug:module_id>/run": Case(
        422, OPERATORS, None, lambda w: {"module_id": "bench"}, {"task": "nonsense"}
    ),
    "GET operator/attention": Case(200, OPERATORS),
    "GET estop": Case(200),
    "POST estop": Case(200, body={"scope": "lab"}),
    "POST estop/rearm": Case(409, OPERATORS, None, body={"scope": "lab", "note": "looked at it"}),
    "GET samples": Case(200),
    "GET steps/waiting": Case(200),
    "GET steps/<uuid:step_id>": step(200),
    # The step of the cast is an instrument's: nobody may answer it, but those in charge are told why.
    "POST steps/<uuid:step_id>/answer": step(409, IN_CHARGE, {"values": {}}),
    "POST steps/<uuid:step_id>/decide": Case(
        202,
        OPERATORS,
        OPERATORS,
        lambda w: {"step_id": w.step.pk},
        {"decision": "failed", "note": "the vial is broken"},
    ),
}


def routes() -> dict[str, Access]:
    """Return method and route of everything that is served below ``/api``, with what it demands."""
    found = {}
    for route, callback in api_views().items():
        view = getattr(callback, "view_class", None) or callback.cls
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            demand = demanded(view(), method)
            if demand is not None:
                found[f"{method} {route.removeprefix('api/v1').removeprefix('/')}"] = demand
    return found


def test_every_route_is_in_the_matrix() -> None:
    assert sorted(routes()) == sorted(CASES)


def expected(case: Case, demand: Access, name: str) -> int:
    """Return the status that follows from what a route declares and who asks."""
    if name in NO_CREDENTIAL:
        return case.answers if name in case.may else 401
    if demand.scope is not None and name == "scopeless":
        return 403
    if demand.lab_role is not None and name != demand.lab_role:
        return 403
    if case.sees is not None and name not in case.sees:
        return 404
    return case.answers if name in case.may else 403


@pytest.mark.parametrize("entry", sorted(CASES))
def test_matrix(world: World, entry: str) -> None:
    demand = routes()[entry]
    for name in sorted(EVERYBODY):
        # Each asker meets the same world: what the one before did is undone.
        with transaction.atomic():
            check(world, entry, demand, name)
            transaction.set_rollback(True)


def check(world: World, entry: str, demand: Access, name: str) -> None:
    case = CASES[entry]
    method, _, route = entry.partition(" ")
    path = ("/api/v1/" + route).removesuffix("/")
    for key, value in case.arguments(world).items():
        for kind in ("uuid", "slug", "str", "path"):
            path = path.replace(f"<{kind}:{key}>", str(value))
    body = "" if case.body is None else json.dumps(case.body)
    response = world.people[name].client.generic(method, path, body, "application/json")
    who = f"{name}: {response.content.decode()[:500]}"
    assert response.status_code == expected(case, demand, name), who
    if response.status_code >= 400:
        assert response.headers["Content-Type"] == "application/problem+json", who
        assert response.json()["status"] == response.status_code, who
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"] == "Bearer", who
    if response.status_code == 403 and name == "scopeless" and demand.scope is not None:
        assert str(demand.scope) in response.json()["detail"], who
    if name not in TEAM | {"scopeless", "operator"}:
        assert b"secret recipe" not in response.content, who
        assert str(world.job.pk).encode() not in response.content.replace(path.encode(), b""), who
