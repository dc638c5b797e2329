"""Who asks: tokens, sessions, wrong passwords."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from octolab.logs import LineFormatter
from tests.cast import EVERYTHING, Person, another_token, person
from users import services
from users.models import Token, User

pytestmark = pytest.mark.django_db

ME, TOKENS = "/api/v1/me", "/api/v1/tokens"
PASSWORD = "correct horse battery"


def browser(user: User) -> Client:
    """A browser that is logged in at the dashboard."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def make(client: Client, **wish: Any) -> Any:
    return client.post(TOKENS, wish, content_type="application/json")


def test_me_tells_what_the_credential_is_good_for(ann: Person) -> None:
    shown = ann.client.get(ME).json()
    assert shown["username"] == "ann"
    assert shown["scopes"] == EVERYTHING
    assert shown["projects"] == {"ann": "admin"}
    assert "token" not in shown["token"]
    assert "digest" not in shown["token"]


def test_the_last_use_is_noted_once_a_minute(ann: Person) -> None:
    ann.client.get(ME)
    first = Token.objects.get()
    assert first.last_used_at is not None
    assert first.last_address == "127.0.0.1"
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ann.client.get(ME)
    assert not [query for query in queries if query["sql"].startswith(("UPDATE", "INSERT"))]
    Token.objects.update(last_used_at=timezone.now() - timedelta(seconds=61))
    ann.client.get(ME)
    last = Token.objects.get().last_used_at
    assert last is not None
    assert last > first.last_used_at


def test_authentication_takes_one_query(ann: Person) -> None:
    ann.client.get(TOKENS)
    with CaptureQueriesContext(connection) as queries:
        ann.client.get("/api/v1/nothing-here")
        ann.client.get(TOKENS)
    assert len(queries) == 2


def test_a_token_is_made_with_name_and_password() -> None:
    services.create_user("ann", PASSWORD)
    response = make(Client(), username="ann", password=PASSWORD, scopes=["jobs:read"], name="notebook")
    assert response.status_code == 201
    made = response.json()
    assert made["scopes"] == ["jobs:read"]
    assert Client(headers={"Authorization": f"Bearer {made['token']}"}).get(ME).json()["token"]["id"] == made["id"]


@pytest.mark.parametrize(
    "wish", [{}, {"username": "ann"}, {"username": "ann", "password": "wrong"}, {"username": "zoe", "password": "x"}]
)
def test_without_the_password_there_is_no_token(wish: dict[str, str]) -> None:
    services.create_user("ann", PASSWORD)
    assert make(Client(), **wish).status_code == 401
    assert not Token.objects.exists()


def test_a_deactivated_user_gets_no_token() -> None:
    services.deactivate(services.create_user("ann", PASSWORD))
    assert make(Client(), username="ann", password=PASSWORD).status_code == 401


def test_a_token_cannot_make_another(ann: Person) -> None:
    assert make(ann.client).status_code == 403
    assert Token.objects.count() == 1


@pytest.mark.parametrize(
    "wish", [{"scopes": ["root"]}, {"project": "theirs"}, {"expires_at": "2001-01-01T00:00:00Z"}, {"owner": "ben"}]
)
def test_bad_wishes_are_refused(wish: dict[str, Any]) -> None:
    services.create_user("ann", PASSWORD)
    services.create_project(services.create_user("ben"), "theirs")
    assert make(Client(), username="ann", password=PASSWORD, **wish).status_code == 422
    assert not Token.objects.exists()


def test_who_guesses_passwords_is_locked_out_with_the_name_and_address(settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    services.create_user("ann", PASSWORD)
    services.create_user("ben", PASSWORD)
    for _ in range(3):
        make(Client(), username="ann", password="wrong")
    locked = make(Client(), username="ann", password=PASSWORD)
    assert locked.status_code == 429
    assert locked.headers["Content-Type"] == "application/problem+json"
    assert int(locked.headers["Retry-After"]) > 0
    # Neither another name nor another address suffers.
    assert make(Client(), username="ben", password=PASSWORD).status_code == 201
    assert make(Client(REMOTE_ADDR="192.0.2.7"), username="ann", password=PASSWORD).status_code == 201


def test_an_address_may_try_so_many_passwords_a_minute(settings: Any) -> None:
    settings.REQUESTS_PER_MINUTE = {**settings.REQUESTS_PER_MINUTE, "password": 3}
    names = [f"nobody{number}" for number in range(4)]
    assert [make(Client(), username=name, password="x").status_code for name in names] == [401, 401, 401, 429]
    refused = make(Client(), username="nobody9", password="x")
    assert int(refused.headers["Retry-After"]) > 0
    assert make(Client(REMOTE_ADDR="192.0.2.7"), username="nobody9", password="x").status_code == 401


def test_a_forged_header_does_not_evade_the_lock(settings: Any) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    services.create_user("ann", PASSWORD)
    for number in range(3):
        make(Client(headers={"X-Forwarded-For": f"192.0.2.{number}"}), username="ann", password="wrong")
    assert make(Client(headers={"X-Forwarded-For": "192.0.2.9"}), username="ann", password=PASSWORD).status_code == 429


def test_a_name_that_does_not_exist_costs_a_hash_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the answer's time would tell which names exist."""
    from django.contrib.auth.hashers import MD5PasswordHasher

    hashed: list[str] = []
    original = MD5PasswordHasher.encode

    def encode(self: MD5PasswordHasher, password: str, salt: str) -> str:
        hashed.append(password)
        return str(original(self, password, salt))

    services.create_user("ann", PASSWORD)
    monkeypatch.setattr(MD5PasswordHasher, "encode", encode)
    make(Client(), username="nobody", password="guess-1")
    assert hashed == ["guess-1"]


def test_tokens_are_listed_and_revoked(ann: Person) -> None:
    other = another_token("other", ann, scopes=["jobs:read"])
    assert other.token is not None
    assert ann.token is not None
    assert {row["id"] for row in other.client.get(TOKENS).json()} == {str(other.token.uid), str(ann.token.uid)}
    assert other.client.delete(f"{TOKENS}/{ann.token.uid}").status_code == 403
    assert other.client.delete(f"{TOKENS}/{other.token.uid}").status_code == 204
    assert other.client.get(ME).status_code == 401
    assert ann.client.delete(f"{TOKENS}/{person('ben').token.uid}").status_code == 404  # type: ignore[union-attr]


def test_a_session_works_like_a_token_with_all_scopes(ann: Person) -> None:
    assert ann.user is not None
    client = browser(ann.user)
    assert client.get(ME).json()["scopes"] == EVERYTHING
    services.deactivate(ann.user)
    assert client.get(ME).status_code == 401


def test_a_session_changes_nothing_without_the_csrf_token(ann: Person) -> None:
    assert ann.user is not None
    client = browser(ann.user)
    refused = client.post("/api/v1/projects", {"slug": "x"}, content_type="application/json")
    assert refused.status_code == 403
    assert "CSRF" in refused.json()["detail"]
    client.cookies["csrftoken"] = "a" * 32
    made = client.post(
        "/api/v1/projects", {"slug": "x"}, content_type="application/json", headers={"X-CSRFToken": "a" * 32}
    )
    assert made.status_code == 201


def test_secrets_are_struck_out_of_the_log(ann: Person) -> None:
    record = logging.LogRecord(
        "test",
        logging.WARNING,
        __file__,
        1,
        "GET /x Authorization: Bearer %s password=hunter2 redis://:geheim@127.0.0.1/0\nFAKE LINE\x1b[31m",
        (ann.secret,),
        None,
    )
    line = LineFormatter("%(levelname)s %(message)s").format(record)
    for secret in (ann.secret, "hunter2", "geheim", "\n", "\x1b"):
        assert secret is not None
        assert secret not in line


def test_a_traceback_is_redacted_too() -> None:
    try:
        raise RuntimeError("token octolab_" + "ab" * 32)
    except RuntimeError as error:
        record = logging.LogRecord("t", logging.ERROR, "", 1, "broken", (), (type(error), error, error.__traceback__))
    assert "abab" not in LineFormatter("%(message)s").format(record)
