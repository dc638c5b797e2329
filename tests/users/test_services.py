"""Accounts, tokens and projects, as pages, API and commands make them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.exceptions import AuthenticationFailed

from tests.cast import EVERYTHING, Person, person
from users import services
from users.authentication import authenticate_token
from users.models import LabRole, Membership, Project, ProjectRole, Token, User
from users.permissions import my_project

pytestmark = pytest.mark.django_db


def test_a_user_gets_a_personal_project() -> None:
    user = services.create_user("Ann.Lee", "correct horse battery")
    assert user.check_password("correct horse battery")
    assert user.personal_project.slug == "annlee"
    assert user.memberships.get().role == ProjectRole.ADMIN


def test_personal_projects_of_like_names_differ() -> None:
    first, second = services.create_user("a.b"), services.create_user("a@b")
    assert first.personal_project.slug != second.personal_project.slug


@pytest.mark.parametrize("name", ["", "a b", "a/b", "x" * 151, "new\nline", "<b>"])
def test_names_that_are_none_are_refused_and_leave_nothing(name: str) -> None:
    with pytest.raises(services.AccountError) as caught:
        services.create_user(name)
    assert caught.value.path == "username"
    assert not User.objects.exists()
    assert not Project.objects.exists()


def test_a_name_is_taken_whatever_its_case(ann: Person) -> None:
    with pytest.raises(services.AccountError, match="already"):
        services.create_user("ANN")


@pytest.mark.parametrize("password", ["short", "password123", "12345678901234", "annabella1"])
def test_weak_passwords_are_refused(password: str) -> None:
    with pytest.raises(services.AccountError) as caught:
        services.create_user("annabella", password)
    assert caught.value.path == "password"
    assert not User.objects.exists()


def test_a_token_is_stored_hashed_only(ann: Person) -> None:
    row = Token.objects.values().get()
    assert ann.secret is not None
    assert ann.secret.startswith("octolab_")
    assert ann.secret not in map(str, row.values())
    assert len(row["digest"]) == 128


def test_a_token_works_until_it_is_revoked(ann: Person) -> None:
    assert ann.secret is not None
    assert ann.token is not None
    assert authenticate_token(ann.secret)[0] == ann.user
    services.revoke_token(ann.token)
    with pytest.raises(AuthenticationFailed):
        authenticate_token(ann.secret)


def test_a_deactivated_user_s_token_stops_at_once(ann: Person) -> None:
    assert ann.secret is not None
    assert ann.user is not None
    services.deactivate(ann.user)
    with pytest.raises(AuthenticationFailed):
        authenticate_token(ann.secret)


def test_a_token_for_a_project_ends_with_the_membership(ann: Person) -> None:
    ben = person("ben")
    assert ann.user is not None
    assert ben.user is not None
    project = services.create_project(ann.user, "team")
    services.add_member(project, "ben")
    secret = services.create_token(ben.user, scopes=EVERYTHING, project=project)[1]
    user, _ = authenticate_token(secret)
    assert list(Project.objects.visible_to(user)) == [project]
    services.remove_member(project, ben.user)
    with pytest.raises(AuthenticationFailed):
        authenticate_token(secret)


def test_a_token_expires(ann: Person) -> None:
    assert ann.user is not None
    token, secret = services.create_token(ann.user, expires_at=timezone.now() + timedelta(hours=1))
    authenticate_token(secret)
    Token.objects.filter(pk=token.pk).update(expiry=timezone.now() - timedelta(seconds=1))
    with pytest.raises(AuthenticationFailed):
        authenticate_token(secret)


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"scopes": ["jobs:read", "root"]}, "scopes/1"),
        ({"expires_at": timezone.now() - timedelta(days=1)}, "expires_at"),
    ],
)
def test_bad_tokens_are_refused(ann: Person, options: dict[str, object], path: str) -> None:
    assert ann.user is not None
    with pytest.raises(services.AccountError) as caught:
        services.create_token(ann.user, **options)  # type: ignore[arg-type]
    assert caught.value.path == path
    assert Token.objects.count() == 1


def test_a_token_for_somebody_else_s_project_is_refused(ann: Person) -> None:
    assert ann.user is not None
    project = Project.objects.create(slug="theirs", name="theirs")
    with pytest.raises(services.AccountError):
        services.create_token(ann.user, project=project)


def test_a_token_for_one_project_carries_no_lab_role() -> None:
    olga = person("olga", operator=True)
    assert olga.user is not None
    secret = services.create_token(olga.user, scopes=EVERYTHING, project=olga.user.personal_project)[1]
    assert olga.user.operates()
    assert not authenticate_token(secret)[0].operates()


def test_an_admin_is_not_by_that_fact_an_operator() -> None:
    adam, olga = person("adam", admin=True).user, person("olga", operator=True).user
    assert adam is not None
    assert olga is not None
    assert adam.is_lab_admin
    assert not adam.operates()
    assert olga.operates()
    assert not olga.is_lab_admin


def test_an_operator_of_named_modules_operates_these_alone(ann: Person) -> None:
    assert ann.user is not None
    services.set_lab_role(ann.user, LabRole.Role.OPERATOR, ["uv_vis"])
    user = User.objects.get(pk=ann.user.pk)
    assert user.operates()
    assert user.operates("uv_vis")
    assert not user.operates("furnace")


def test_a_project_keeps_an_admin(ann: Person) -> None:
    assert ann.user is not None
    project = services.create_project(ann.user, "team")
    with pytest.raises(services.AccountError, match="admin"):
        services.remove_member(project, ann.user)
    with pytest.raises(services.AccountError, match="admin"):
        services.add_member(project, "ann", ProjectRole.VIEWER)
    assert Membership.objects.get(project=project).role == ProjectRole.ADMIN


def test_the_owner_of_a_personal_project_stays_its_admin(ann: Person) -> None:
    assert ann.user is not None
    person("ben")
    services.add_member(ann.user.personal_project, "ben", ProjectRole.ADMIN)
    with pytest.raises(services.AccountError, match="personal"):
        services.remove_member(ann.user.personal_project, ann.user)


def test_a_short_name_is_given_once(ann: Person) -> None:
    assert ann.user is not None
    services.create_project(ann.user, "team")
    with pytest.raises(services.AccountError, match="taken"):
        services.create_project(ann.user, "team")


@pytest.mark.parametrize("slug", ["", "../etc", "a/b", "A", "a\n", "-a", "x" * 64])
def test_bad_short_names_are_refused(ann: Person, slug: str) -> None:
    assert ann.user is not None
    with pytest.raises(services.AccountError):
        services.create_project(ann.user, slug)


def test_my_project_is_the_personal_one_unless_the_token_has_another(ann: Person) -> None:
    user = ann.user
    assert user is not None
    team = services.create_project(user, "team")
    assert my_project(user, None) == (user.personal_project, "admin")
    assert my_project(user, "team") == (team, "admin")
    assert my_project(user, "other") is None
    user.only_project_id = team.pk
    assert my_project(user, None) == (team, "admin")
    assert my_project(user, "ann") is None
    user.is_active = False
    assert my_project(user, None) is None
