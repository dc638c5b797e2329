"""Nobody learns who has an account: not by what is answered, not by how long it takes, not by whose mail comes."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.core import mail
from django.core.cache import cache
from django.test import Client

from octolab.rates import rates
from users import services
from users.models import User
from users.policies.services import change_policy

PASSWORD = "correct horse battery"
KNOWN, UNKNOWN = "ann@example.org", "nobody@example.org"
ROUNDS = 12
pytestmark = pytest.mark.django_db


class Quick(PBKDF2PasswordHasher):
    """The hash of the shipped settings, with fewer rounds: still most of what a login costs."""

    algorithm = "quick"
    iterations = 150_000


@pytest.fixture
def accounts(settings: Any) -> None:
    """An account with a password, one without, one that is locked; sign-up with approval."""
    settings.PASSWORD_HASHERS = [f"{__name__}.Quick"]
    settings.AXES_FAILURE_LIMIT = 10_000
    settings.REQUESTS_PER_MINUTE = {**settings.REQUESTS_PER_MINUTE, "password": 0}
    settings.ACCOUNT_RATE_LIMITS = False
    change_policy(sign_up="approval")
    services.create_user("ann", PASSWORD, email=KNOWN)
    services.create_user("sso")
    services.deactivate(services.create_user("gone", PASSWORD))


def by_page(name: str) -> Any:
    return Client().post("/login", {"username": name, "password": "wrong"})


def by_token(name: str) -> Any:
    return Client().post("/api/v1/tokens", {"username": name, "password": "wrong"}, "application/json")


def cpu_s(ask: Callable[[str], Any], name: str) -> float:
    """Return the time of this thread's own computing, which no other process disturbs."""
    started_s = time.thread_time()
    ask(name)
    return time.thread_time() - started_s


def ratio(ask: Callable[[str], Any], name: str) -> float:
    """Return how long a login with a name takes compared to one with an unknown name, by turns; the median's."""
    cpu_s(ask, name), cpu_s(ask, "warm-up")
    rounds = [(cpu_s(ask, name), cpu_s(ask, f"nobody{number}")) for number in range(ROUNDS)]
    return statistics.median(one for one, _ in rounds) / statistics.median(other for _, other in rounds)


@pytest.mark.parametrize("ask", [by_page, by_token])
@pytest.mark.parametrize("name", ["ann", "sso", "gone"])
def test_a_login_takes_as_long_for_an_unknown_name(accounts: None, ask: Callable[[str], Any], name: str) -> None:
    """Judged by computing time, so that a busy machine does not matter; tests/users count the hashes as well."""
    assert 0.75 < ratio(ask, name) < 1.33


def test_the_measurement_would_notice_a_login_that_hashes_nothing(
    accounts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = User.set_password

    def only_for_known(user: User, password: str | None) -> None:
        if user.pk and user.username:
            known(user, password)

    monkeypatch.setattr(User, "set_password", only_for_known)
    assert ratio(by_token, "ann") > 1.33


@pytest.mark.parametrize("ask", [by_page, by_token])
def test_a_login_is_answered_alike(accounts: None, settings: Any, ask: Callable[[str], Any]) -> None:
    settings.AXES_FAILURE_LIMIT = 3
    shown = {}
    for name in ("ann", "sso", "gone", "nobody"):
        answers = [ask(name) for _ in range(5)]
        shown[name] = [(answer.status_code, plain(answer, name)) for answer in answers]
    assert shown["ann"] == shown["sso"] == shown["gone"] == shown["nobody"]
    assert shown["ann"][-1][0] == 429, "who guesses at a name that does not exist is locked out as well"


def plain(answer: Any, *own: str) -> str:
    """Return a page without what was typed in, and without its CSRF tokens."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"|"X-CSRFToken": "[^"]*"', "", answer.content.decode())
    for word in own:
        text = text.replace(word, "")
    return text


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/account/password/reset/", {}),
        ("/account/signup/", {"username": "newcomer", "password1": PASSWORD, "password2": PASSWORD}),
    ],
)
def test_an_address_that_has_an_account_is_treated_alike(accounts: None, path: str, form: dict[str, str]) -> None:
    """To both addresses goes one mail: sending takes long, and the owner of the address learns what happened."""
    before, seen = User.objects.count(), []
    for email, name in ((KNOWN, "first"), (UNKNOWN, "second")):
        cache.clear()
        rates().forget()
        mail.outbox.clear()
        client = Client()
        wish = {**form, "email": email, **({"username": name} if form else {})}
        answer = client.post(path, wish)
        following = client.get(answer.headers["Location"])
        seen.append((answer.status_code, answer.headers["Location"], following.status_code, plain(following, email)))
        assert [message.to for message in mail.outbox] == [[email]]
        assert "_auth_user_id" not in client.session
    assert seen[0] == seen[1]
    assert User.objects.count() == before + bool(form), "the known address makes no second account"


def test_with_the_mail_server_away_nobody_learns_more_and_nothing_breaks(accounts: None, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
    seen = []
    for email in (KNOWN, UNKNOWN):
        cache.clear()
        client = Client()
        answer = client.post("/account/password/reset/", {"email": email})
        seen.append((answer.status_code, plain(client.get(answer.headers["Location"]), email)))
    assert seen[0] == seen[1]
    assert "No mail can be sent at present" in seen[0][1]
    cache.clear()
    wish = {"username": "newcomer", "email": UNKNOWN, "password1": PASSWORD, "password2": PASSWORD}
    assert Client().post("/account/signup/", wish).status_code == 302
    assert User.objects.filter(username="newcomer").exists()
