"""Coming in: sign-up as the lab sets, invitations, verified addresses, second factors, sessions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core import mail
from django.test import Client

from tests.cast import Person, World, make_world, person
from users import services
from users.accounts.services import invite
from users.audit.models import AuditEntry
from users.models import Invitation, LabRole, Membership, Project, SignUp, User
from users.policies.services import change_policy

PASSWORD = "correct horse battery"
pytestmark = pytest.mark.django_db
FORM = {"username": "newcomer", "email": "new@example.org", "password1": PASSWORD, "password2": PASSWORD}


@pytest.fixture
def world(db: None) -> World:
    """One team, and everybody around."""
    return make_world()


def browser(who: Person | None = None) -> Client:
    client = Client()
    if who is not None:
        assert who.user
        client.force_login(who.user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def sign_in(client: Client, name: str = "newcomer", password: str = PASSWORD, **options: Any) -> Any:
    return client.post("/login", {"username": name, "password": password, **options})


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


# --- sign-up


def test_sign_up_is_off_unless_the_lab_opens_it() -> None:
    page = browser().post("/account/signup/", FORM)
    assert "new@example.org" not in page.content.decode()
    assert not User.objects.exists()
    change_policy(sign_up="invitation")
    browser().post("/account/signup/", FORM)
    assert not User.objects.exists()


def test_who_signs_up_waits_until_an_admin_lets_them_in(world: World) -> None:
    change_policy(sign_up="approval")
    client = browser()
    client.post("/account/signup/", FORM)
    user = User.objects.get(username="newcomer")
    assert not user.is_active
    assert user.personal_project.slug == "newcomer"
    assert not signed_in(client)
    sign_in(client)
    assert not signed_in(client)
    admin = browser(world.admin)
    assert "new@example.org" in admin.get("/admin").content.decode()
    assert browser(world.lead).post("/admin/accounts/newcomer", {"do": "admit"}).status_code == 404
    admin.post("/admin/accounts/newcomer", {"do": "admit"})
    assert User.objects.get(username="newcomer").is_active
    assert not SignUp.objects.exists()
    assert AuditEntry.objects.latest("seq").verb == "user.activate"


@pytest.mark.parametrize("first", ["admitted", "verified"])
def test_an_address_has_to_be_verified_before_the_first_sign_in(world: World, first: str) -> None:
    change_policy(sign_up="approval")
    browser().post("/account/signup/", FORM)
    [message] = [m for m in mail.outbox if m.to == ["new@example.org"]]
    link = re.search(r"http://\S+(/account/confirm-email/\S+)", message.body)
    assert link

    def admit() -> None:
        browser(world.admin).post("/admin/accounts/newcomer", {"do": "admit"})

    def verify() -> None:
        browser().post(link[1])

    steps = [admit, verify] if first == "admitted" else [verify, admit]
    for step in steps:
        client = browser()
        sign_in(client)
        assert not signed_in(client)
        step()
    assert EmailAddress.objects.get(email="new@example.org").verified
    client = browser()
    sign_in(client)
    assert signed_in(client)


def test_who_was_made_with_an_address_is_not_locked_out_by_looking_at_it() -> None:
    services.create_user("ada", PASSWORD, email="ada@example.org")
    client = browser()
    sign_in(client, "ada")
    assert client.get("/account/email/").status_code == 200
    client.post("/logout")
    sign_in(client, "ada")
    assert signed_in(client)


def test_an_invitation_lets_one_person_in_and_into_the_project(world: World) -> None:
    change_policy(sign_up="invitation")
    invitation, link, _ = invite("new@example.org", world.project, by="admin")
    assert [m.to for m in mail.outbox] == [["new@example.org"]]
    secret = link.rsplit("/", 1)[1]
    assert secret not in str(Invitation.objects.values().get())
    client = browser()
    assert client.get(f"/invitation/{secret}").headers["Location"] == "/account/signup/"
    client.post("/account/signup/", FORM)
    user = User.objects.get(username="newcomer")
    assert user.is_active
    assert signed_in(client), "the link came by this address, so nothing is left to verify"
    assert Membership.objects.get(user=user, project=world.project).role == "member"
    assert Project.objects.get(personal_of=user)
    assert browser().get(f"/invitation/{secret}").status_code == 410
    assert Invitation.objects.get(pk=invitation.pk).used_at


def test_invitations_that_are_wrong_old_or_useless_let_nobody_in(world: World) -> None:
    invitation, link, _ = invite("new@example.org")
    path = "/invitation/" + link.rsplit("/", 1)[1]
    assert browser().get(path).status_code == 404, "sign-up is off"
    change_policy(sign_up="invitation")
    assert browser().get("/invitation/nonsense").status_code == 410
    Invitation.objects.filter(pk=invitation.pk).update(expires_at=invitation.made_at)
    assert browser().get(path).status_code == 410
    with pytest.raises(services.AccountError):
        invite("no address")


@pytest.mark.parametrize("name", ["OWNER", "a b", "x/y", "<b>", "..", ".x", "@owner", "\u043ewner", "owner\u200b"])
def test_names_that_are_taken_or_none_are_refused(world: World, name: str) -> None:
    change_policy(sign_up="approval")
    before = User.objects.count()
    browser().post("/account/signup/", {**FORM, "username": name})
    assert User.objects.count() == before
    with pytest.raises(services.AccountError):
        services.create_user(name)


def test_weak_passwords_are_refused() -> None:
    change_policy(sign_up="approval")
    browser().post("/account/signup/", {**FORM, "password1": "password123", "password2": "password123"})
    assert not User.objects.exists()


# --- signing in


def test_accounts_made_by_an_admin_need_no_address() -> None:
    services.create_user("ann", PASSWORD)
    client = browser()
    assert sign_in(client, "ann").headers["Location"] == "/"
    assert signed_in(client)


def test_unknown_names_cost_as_much_computing_as_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    services.create_user("ann", PASSWORD)
    services.create_user("sso")
    services.deactivate(services.create_user("gone", PASSWORD))
    calls: list[str] = []
    encode = MD5PasswordHasher.encode

    def counted(self: MD5PasswordHasher, password: str, salt: str) -> str:
        calls.append(password)
        return str(encode(self, password, salt))

    monkeypatch.setattr(MD5PasswordHasher, "encode", counted)
    answers = set()
    for name in ("ann", "nobody", "sso", "gone"):
        calls.clear()
        page = sign_in(browser(), name, "wrong")
        text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"|"X-CSRFToken": "[^"]*"', "", page.content.decode())
        answers.add((len(calls), page.status_code, text.replace(f'value="{name}"', "")))
    assert len(answers) == 1, [(count, status) for count, status, _ in answers]
    assert answers.pop()[0] >= 1


def test_who_guesses_is_locked_out() -> None:
    services.create_user("ann", PASSWORD)
    client = browser()
    statuses = [sign_in(client, "ann", f"wrong {n}").status_code for n in range(11)]
    assert statuses[-1] == 429
    assert sign_in(client, "ann").status_code == 429
    assert not signed_in(client)


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_redirects_nowhere_else(target: str) -> None:
    services.create_user("ann", PASSWORD)
    client = browser()
    where = sign_in(client, "ann", next=target).headers["Location"]
    assert "evil" not in where
    assert "javascript" not in where
    assert client.get(f"/login?next={target}").headers["Location"] == "/"


def test_a_forgotten_password_is_reset_by_mail_and_nobody_learns_who_has_an_account() -> None:
    user = services.create_user("ann", PASSWORD, email="ann@example.org")
    pages = [
        browser().post("/account/password/reset/", {"email": email}) for email in ("ann@example.org", "no@example.org")
    ]
    assert pages[0].headers["Location"] == pages[1].headers["Location"]
    [message] = [m for m in mail.outbox if m.to == ["ann@example.org"]]
    link = re.search(r"http://\S+(/account/password/reset/key/\S+)", message.body)
    assert link
    assert "Your user name is ann." in message.body
    client = browser()
    form = client.get(link[1]).headers["Location"]
    assert "Choose a new password" in client.get(form).content.decode()
    client.post(form, {"password1": "another good secret", "password2": "another good secret"})
    user.refresh_from_db()
    assert user.check_password("another good secret")
    assert "does not work any more" in browser().get(link[1]).content.decode()
    told = mail.outbox[-1]
    assert told.to == ["ann@example.org"]
    assert "If that was not you" in told.body


def test_an_admin_lets_in_who_has_lost_password_and_second_factor(world: World) -> None:
    user = services.create_user("ann", PASSWORD)
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    elsewhere = Client()
    elsewhere.force_login(user)
    for _ in range(11):
        sign_in(browser(), "ann", "forgotten")
    assert browser(world.owner).post("/admin/accounts/ann", {"do": "reset"}).status_code == 404
    shown = browser(world.admin).post("/admin/accounts/ann", {"do": "reset"}).content.decode()
    password = re.search(r'<code class="secret">([^<]+)</code>', shown)
    assert password
    client = browser()
    sign_in(client, "ann", password[1])
    assert signed_in(client)
    assert elsewhere.get("/account").status_code == 302, "sessions have ended"
    assert AuditEntry.objects.filter(verb="access.reset", subject="ann").exists()


def test_a_role_of_a_module_that_the_lab_does_not_have_is_given_and_told(world: World) -> None:
    page = browser(world.admin).post(
        "/admin/accounts/viewer", {"do": "give", "role": "operator", "modules": "uv_viz"}, follow=True
    )
    assert "The lab has no module uv_viz at present" in page.content.decode()
    assert LabRole.objects.get(user__username="viewer").modules == ["uv_viz"]


@pytest.mark.parametrize(("host", "named"), [("localhost", True), ("127.0.0.1:8000", False), ("[::1]:8000", False)])
def test_passkeys_are_offered_where_a_browser_can_keep_them(host: str, named: bool) -> None:
    assert ('id="passkey_login"' in Client(headers={"host": host}).get("/login").content.decode()) is named


def test_an_invitation_is_withdrawn(world: World) -> None:
    change_policy(sign_up="invitation")
    admin = browser(world.admin)
    shown = admin.post("/admin/invitations", {"email": "new@example.org"}).content.decode()
    link = re.search(r"(/invitation/[^<]+)</code>", shown)
    assert link
    pk = Invitation.objects.get().pk
    assert browser(world.owner).post("/admin/invitations", {"do": "withdraw", "invitation": pk}).status_code == 404
    admin.post("/admin/invitations", {"do": "withdraw", "invitation": pk})
    assert browser().get(link[1]).status_code == 410


# --- second factors and sessions


def test_a_role_can_need_a_second_factor(world: World) -> None:
    change_policy(mfa_for=["operator"])
    client = browser(world.operator)
    assert client.get("/jobs").headers["Location"] == "/account/2fa/"
    refused = client.get("/api/v1/jobs")
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:octolab:problem:second-factor")
    # No header lets the session pass as a token, no name as the emergency stop; the stop itself is open.
    for kind in ("Basic x", "x", "Token x", "bearer", "Bearer x", "Bearer\tx"):
        tricked = client.get("/api/v1/jobs", headers={"Authorization": kind})
        assert tricked.status_code in (401, 403), kind
    assert client.get("/api/v1/quotas/users/estop").status_code == 403
    assert client.post("/api/v1/estop/rearm", {"note": "x"}, "application/json").status_code == 403
    assert client.post("/estop/rearm", {"scope": "lab", "note": "x"}).headers["Location"] == "/account/2fa/"
    assert client.get("/api/v1/estop").status_code not in (401, 403)
    assert client.get("/account/2fa/").status_code == 200
    assert world.operator.user
    TOTP.activate(world.operator.user, "JBSWY3DPEHPK3PXP")
    assert client.get("/jobs").status_code == 200
    assert browser(world.owner).get("/jobs").status_code == 200
    assert world.operator.client.get("/api/v1/jobs").status_code == 200


def test_the_second_factor_is_asked_for_and_the_password_alone_makes_no_token() -> None:
    user = services.create_user("ann", PASSWORD)
    TOTP.activate(user, "JBSWY3DPEHPK3PXP")
    client = browser()
    assert sign_in(client, "ann").headers["Location"].startswith("/account/2fa/authenticate/")
    assert not signed_in(client)
    wish = {"username": "ann", "password": PASSWORD}
    assert Client().post("/api/v1/tokens", wish, "application/json").status_code == 403
    client.post("/account/2fa/authenticate/", {"code": "000000"})
    assert not signed_in(client)
    client.post("/account/2fa/authenticate/", {"code": code("JBSWY3DPEHPK3PXP")})
    assert signed_in(client)


def test_an_operator_without_the_needed_factor_gets_no_token_either(world: World) -> None:
    change_policy(mfa_for=["operator"])
    user = services.create_user("olga", PASSWORD, operator=True)
    wish = {"username": "olga", "password": PASSWORD}
    assert Client().post("/api/v1/tokens", wish, "application/json").status_code == 403
    services.take_lab_role(user, LabRole.Role.OPERATOR)
    assert Client().post("/api/v1/tokens", wish, "application/json").status_code == 201


def test_sessions_are_listed_and_ended() -> None:
    services.create_user("ann", PASSWORD)
    here, there = browser(), browser()
    for client in (here, there):
        sign_in(client, "ann")
        assert client.get("/account").status_code == 200
    page = here.get("/account/sessions/").content.decode()
    assert page.count("127.0.0.1") == 2
    here.post("/account/sessions/")
    assert there.get("/account").status_code == 302
    assert here.get("/account").status_code == 200


PAGES = ("/login", "2fa/", "sessions/", "email/", "password/change/", "password/reset/", "signup/")


@pytest.mark.parametrize("path", [page if page.startswith("/") else f"/account/{page}" for page in PAGES])
def test_the_pages_hold_no_inline_script_or_style(path: str) -> None:
    services.create_user("ann", PASSWORD)
    change_policy(sign_up="approval")
    client = browser()
    if path not in ("/login", "/account/signup/", "/account/password/reset/"):
        sign_in(client, "ann")
    page = client.get(path)
    assert page.status_code == 200
    text = page.content.decode()
    assert "octolab.css" in text, "in the dashboard's style"
    assert not re.search(r"\son\w+=|<style|\sstyle=|javascript:", text)
    for tag in re.findall(r"<script[^>]*>", text):
        assert " src=" in tag or 'type="application/json"' in tag, tag
    assert "script-src" not in page.headers["Content-Security-Policy"]
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]


# --- the admin's first hour


def test_an_admin_does_it_all_on_one_page(world: World) -> None:
    client = browser(world.admin)
    wish = {"sign_up": "invitation", "mfa_operator": "on", "open_jobs_per_user": "7", "half_life_h": "24"}
    client.post("/admin/settings", wish)
    shown = client.post("/admin/invitations", {"email": "new@example.org", "project": "team"}).content.decode()
    assert "/invitation/" in shown
    client.post("/admin/projects", {"slug": "beams", "name": "Beams", "admin": "owner"})
    client.post("/admin/projects", {"do": "quota", "slug": "beams", "module_hours": "10"})
    client.post("/admin/accounts/owner", {"do": "quota", "open_jobs": "3"})
    client.post("/admin/accounts/member", {"do": "give", "role": "operator"})
    client.post("/admin/accounts/viewer", {"do": "lock"})
    client.post("/admin/accounts/admin", {"do": "lock"})
    client.post("/admin/accounts/owner", {"do": "give", "role": "emperor"})
    client.post("/admin/settings", {"sign_up": "invitation", "half_life_h": "nan"})
    page = client.get("/admin").content.decode()
    assert "Beams" in page
    project = Project.objects.get(slug="beams")
    assert project.quota.module_hours == 10
    assert project.memberships.get().user == world.owner.user
    assert world.owner.user
    assert world.owner.user.quota.open_jobs == 3
    assert LabRole.objects.filter(user=world.member.user, role="operator").exists()
    assert not User.objects.get(username="viewer").is_active
    assert User.objects.get(username="admin").is_active
    assert not LabRole.objects.filter(role="emperor").exists()
    verbs = set(AuditEntry.objects.filter(actor="admin").values_list("verb", flat=True))
    assert {"lab.policy", "invitation.send", "quota.set", "labrole.give", "user.deactivate"} <= verbs


def test_nobody_else_administers(world: World) -> None:
    for who in (world.owner, world.operator, world.lead):
        client = browser(who)
        assert client.get("/admin").status_code == 404
        for path in ("settings", "invitations", "projects", "accounts/owner"):
            assert client.post(f"/admin/{path}", {"do": "give", "role": "admin"}).status_code == 404
    assert LabRole.objects.filter(role="admin").count() == 1
    assert browser().get("/admin").status_code == 302


def test_a_passkey_counts_as_second_factor() -> None:
    user = services.create_user("ann", PASSWORD, operator=True)
    change_policy(mfa_for=["operator"])
    Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/jobs").status_code == 200
    assert person("zoe").user
