"""The audit log: complete, append-only, and nobody changes it unnoticed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client

from scheduler.models import Request
from tests.cast import Person, World, make_world, person
from tests.users.test_accounts import code
from users import services
from users.audit import acting, note, verify
from users.audit.models import AppendOnlyError, AuditEntry, AuditHead
from users.models import LabRole, Scope, Token

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    """One team, and everybody around."""
    return make_world()


def verbs() -> list[str]:
    return list(AuditEntry.objects.order_by("seq").values_list("verb", flat=True))


def fill(number: int) -> None:
    for index in range(number):
        note("test.write", index, actor="ann", said="hello")


def raw(statement: str, *values: int) -> None:
    """Do what somebody with the database's password would do."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def test_an_untouched_log_holds(data_root: Path) -> None:
    fill(20)
    verdict = verify()
    assert (verdict.entries, verdict.broken) == (20, ())
    call_command("audit", "verify", "--expect", AuditEntry.objects.get(seq=7).hash)


@pytest.mark.parametrize("column", ["actor", "verb", "subject", "address", "credential", "project", "detail"])
def test_a_changed_value_is_noticed(column: str) -> None:
    fill(5)
    raw(f"UPDATE users_auditentry SET {column} = 'somebody else' WHERE seq = 3")
    assert [broken.seq for broken in verify().broken] == [3]


def test_a_changed_time_is_noticed() -> None:
    fill(3)
    raw("UPDATE users_auditentry SET at = (SELECT at FROM users_auditentry WHERE seq = 1) WHERE seq = 2")
    assert [broken.seq for broken in verify().broken] == [2]


@pytest.mark.parametrize(("gone", "noticed"), [(1, 2), (3, 4), (5, 4)])
def test_a_removed_row_is_noticed_wherever_it_stood(gone: int, noticed: int, data_root: Path) -> None:
    fill(5)
    raw("DELETE FROM users_auditentry WHERE seq = %s", gone)
    assert noticed in [broken.seq for broken in verify().broken]
    with pytest.raises(CommandError, match="does not hold"):
        call_command("audit", "verify")


def test_an_emptied_log_is_noticed() -> None:
    fill(2)
    raw("DELETE FROM users_auditentry")
    assert verify().broken
    fill(1)
    assert verify().broken


def test_a_row_that_was_put_in_is_noticed() -> None:
    fill(3)
    raw("UPDATE users_auditentry SET seq = 10 WHERE seq = 3")
    assert verify().broken


def test_a_log_that_was_written_anew_is_noticed_by_who_kept_its_hash() -> None:
    fill(3)
    kept = verify().hash
    raw("DELETE FROM users_auditentry")
    raw("DELETE FROM users_audithead")
    fill(5)
    assert not verify().broken
    assert verify(kept).broken


@pytest.mark.parametrize("gone", [1, 3])
def test_an_end_that_was_cut_off_is_noticed(gone: int) -> None:
    fill(5)
    raw("DELETE FROM users_auditentry WHERE seq > %s", 5 - gone)
    [broken] = verify().broken
    assert "should end at entry 5" in broken.reason
    fill(1)
    assert verify().broken, "what is written afterwards hides nothing"


def test_an_end_that_was_cut_off_together_with_its_head_is_noticed_by_the_next_check(data_root: Path) -> None:
    fill(5)
    call_command("audit", "verify")
    last = AuditEntry.objects.get(seq=4).hash
    raw("DELETE FROM users_auditentry WHERE seq = 5")
    AuditHead.objects.update(seq=4, hash=last)
    assert not verify().broken, "the database alone tells nothing any more"
    with pytest.raises(CommandError, match="does not hold"):
        call_command("audit", "verify")
    fill(3)
    with pytest.raises(CommandError, match="does not hold"):
        call_command("audit", "verify")


def test_checks_that_find_nothing_go_on_finding_nothing(data_root: Path) -> None:
    call_command("audit", "verify")
    for _ in range(3):
        fill(2)
        call_command("audit", "verify")
    assert len((data_root / "audit" / "seen").read_text().split()) == 4


def test_the_program_itself_changes_no_entry() -> None:
    fill(1)
    entry = AuditEntry.objects.get()
    for attempt in (
        lambda: AuditEntry.objects.update(actor="x"),
        lambda: AuditEntry.objects.all().delete(),
        entry.delete,
    ):
        with pytest.raises(AppendOnlyError):
            attempt()
    entry.actor = "x"
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"), transaction.atomic():
        entry.save()
    assert not verify().broken


def test_what_is_rolled_back_leaves_no_entry_and_no_gap() -> None:
    fill(1)
    with transaction.atomic():
        fill(2)
        transaction.set_rollback(True)
    fill(1)
    assert verify().entries == 2
    assert not verify().broken


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_make_one_chain() -> None:
    failures: list[BaseException] = []

    def write(name: str) -> None:
        try:
            for index in range(25):
                with transaction.atomic():
                    note("test.write", index, actor=name)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"writer {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    verdict = verify()
    assert (verdict.entries, verdict.broken) == (100, ())
    assert AuditHead.objects.get().seq == 100


def test_every_change_of_rights_is_noted(world: World) -> None:
    user, token = world.member.user, world.member.token
    assert user
    assert token
    before = AuditEntry.objects.count()
    with acting("adam", "session", "192.0.2.7"):
        services.set_lab_role(user, LabRole.Role.OPERATOR, ["bench"])
        services.take_lab_role(user, LabRole.Role.OPERATOR)
        services.add_member(world.project, "outsider")
        services.remove_member(world.project, user)
        services.revoke_token(token)
        services.deactivate(user)
        services.activate(user)
    assert verbs()[before:] == [
        *("labrole.give", "labrole.take", "member.set", "member.remove", "token.revoke"),
        *("user.deactivate", "user.activate"),
    ]
    entries = AuditEntry.objects.filter(seq__gt=before)
    assert set(entries.values_list("actor", "credential", "address")) == {("adam", "session", "192.0.2.7")}


def test_a_refused_change_is_not_noted(world: World) -> None:
    before = AuditEntry.objects.count()
    assert world.lead.user
    with pytest.raises(services.AccountError):
        services.remove_member(world.project, world.lead.user)
    with pytest.raises(services.AccountError):
        services.create_user("owner")
    assert AuditEntry.objects.count() == before


def test_every_wish_is_noted_with_credential_and_address(world: World) -> None:
    client = world.owner.client
    assert client.post(f"/api/v1/jobs/{world.job.pk}/cancel", {}, "application/json").status_code == 202
    entry = AuditEntry.objects.latest("seq")
    assert world.owner.token
    assert (entry.verb, entry.subject, entry.project) == ("job.cancel", str(world.job.pk), "team")
    assert (entry.actor, entry.credential) == ("owner", f"token {world.owner.token.uid}")
    assert entry.address == "127.0.0.1"
    verdict = {"decision": "failed", "note": "broken"}
    world.operator.client.post(f"/api/v1/steps/{world.step.pk}/decide", verdict, "application/json")
    entry = AuditEntry.objects.latest("seq")
    assert (entry.verb, entry.subject, entry.actor) == ("step.decide", str(world.step.pk), "operator")
    assert "broken" in entry.detail
    assert Request.objects.count() == 2


def test_log_ins_are_noted_without_what_may_be_a_password() -> None:
    services.create_user("ann", "correct horse battery")
    page = Client()
    page.post("/login", {"username": "ann", "password": "wrong"})
    page.post("/login", {"username": "correct horse battery", "password": "ann"})
    page.post("/login", {"username": "ann", "password": "correct horse battery"})
    page.post("/logout")
    wanted = [("login.fail", "ann"), ("login.fail", "an unknown name"), ("login.succeed", "ann"), ("logout", "ann")]
    assert list(AuditEntry.objects.order_by("seq").values_list("verb", "subject"))[-4:] == wanted
    assert not AuditEntry.objects.filter(detail__icontains="horse").exists()
    assert not AuditEntry.objects.filter(subject__icontains="horse").exists()


def test_a_token_made_by_password_is_its_users_deed_and_no_secret_is_kept() -> None:
    services.create_user("ann", "correct horse battery")
    wish = {"username": "ann", "password": "correct horse battery"}
    made = Client().post("/api/v1/tokens", wish, "application/json").json()
    entry = AuditEntry.objects.latest("seq")
    assert (entry.verb, entry.actor, entry.credential) == ("token.create", "ann", "password")
    assert entry.subject == made["id"] == str(Token.objects.get().uid)
    everything = str(list(AuditEntry.objects.values()))
    assert made["token"] not in everything
    assert "horse" not in everything


def test_admins_search_it_and_nobody_else_does(world: World) -> None:
    url = "/api/v1/audit?verb=member&project=team&limit=3"
    found = world.admin.client.get(url).json()
    assert [entry["verb"] for entry in found] == ["member.remove", "member.set", "member.set"]
    assert found[0]["subject"] == "removed"
    older = world.admin.client.get(f"{url}&before={found[-1]['seq']}").json()
    assert older
    assert older[0]["seq"] < found[-1]["seq"]
    assert world.admin.client.get("/api/v1/audit?text=no%20such").json() == []
    assert world.owner.client.get(url).status_code == 403
    weak = person("weak", [Scope.JOBS_READ], admin=True)
    assert weak.client.get(url).status_code == 403


def test_the_page_is_the_admins(world: World) -> None:
    def opened(who: Person, query: str = "") -> tuple[int, str]:
        client = Client()
        assert who.user
        client.force_login(who.user, backend="django.contrib.auth.backends.ModelBackend")
        answer = client.get(f"/admin/audit{query}")
        return answer.status_code, answer.content.decode()

    status, page = opened(world.admin, "?verb=member&since=2020-01-01&before=9999")
    assert status == 200
    assert "member.remove" in page
    assert opened(world.admin, "?since=nonsense&before=-1&text=%00")[0] == 200
    assert opened(world.owner)[0] == 404
    assert opened(world.operator)[0] == 404
    assert Client().get("/admin/audit").status_code == 302


def test_what_people_change_about_themselves_is_noted(
    world: World, settings: Any, django_capture_on_commit_callbacks: Any
) -> None:
    """Channels, passwords, addresses, factors: whose, and never the secret."""
    settings.NOTIFY_PRIVATE = True
    assert world.owner.user is not None
    services_before = len(verbs())
    made = world.owner.client.post(
        "/api/v1/channels", {"name": "mine", "url": "json://localhost:9/hush"}, content_type="application/json"
    )
    assert made.status_code == 201, made.content
    channel = f"/api/v1/channels/{made.json()['id']}"
    assert world.owner.client.generic("POST", f"{channel}/test").status_code == 202
    assert world.owner.client.delete(channel).status_code == 204
    world.owner.user.set_password("correct horse battery")
    world.owner.user.save()
    client = Client()
    client.post("/login", {"username": "owner", "password": "correct horse battery"})
    client.post("/account/email/", {"action_add": "", "email": "me@example.org"})
    client.post("/account/reauthenticate/", {"password": "correct horse battery"})
    client.get("/account/2fa/totp/activate/")
    secret = client.session["mfa.totp.secret"]
    with django_capture_on_commit_callbacks(execute=True):
        client.post("/account/2fa/totp/activate/", {"code": code(secret)})
    client.post("/account/2fa/totp/deactivate/")
    form = {
        "oldpassword": "correct horse battery",
        "password1": "another good secret",
        "password2": "another good secret",
    }
    client.post("/account/password/change/", form)
    noted = verbs()[services_before:]
    assert [verb for verb in noted if verb.startswith("channel.")] == [
        "channel.create",
        "channel.test",
        "channel.delete",
    ]
    assert {"login.succeed", "email.add", "factor.add", "factor.remove", "password.change"} <= set(noted)
    log = str(list(AuditEntry.objects.values()))
    for hidden in ("hush", secret, "another good secret"):
        assert hidden not in log
    assert verify().broken == ()
