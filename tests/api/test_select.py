"""Statements that are composed once return what Django would."""

from __future__ import annotations

import pytest

from octolab.select import Select
from tests.cast import make_world
from users.models import LabPolicy, Membership, Project, Token

pytestmark = pytest.mark.django_db


def test_rows_are_those_of_django_for_no_key_one_and_several() -> None:
    make_world()
    select = Select(
        lambda: Token.objects.order_by("digest").values_list("digest", "scopes", "user__username"), by="user"
    )
    users = list(Token.objects.values_list("user_id", flat=True))
    assert len(users) > 2
    for keys in ([], users[:1], users):
        asked = Token.objects.filter(user__in=keys).order_by("digest")
        assert select(keys) == list(asked.values_list("digest", "scopes", "user__username"))


def test_keys_may_lie_behind_a_relation() -> None:
    make_world()
    select = Select(lambda: Membership.objects.order_by("id").values_list("id", "role"), by="project__personal_of")
    owners = list(Project.objects.exclude(personal_of=None).values_list("personal_of", flat=True))
    found = Membership.objects.filter(project__personal_of__in=owners).order_by("id").values_list("id", "role")
    assert select(owners) == list(found) != []


def test_what_is_fixed_stays_and_changes_are_seen() -> None:
    LabPolicy.objects.update_or_create(pk=1, defaults={"half_life_h": 2.0})
    select = Select(lambda: LabPolicy.objects.filter(half_life_h__lt=10.0).values_list("half_life_h", "mfa_for")[:1])
    assert select() == [(2.0, [])]
    LabPolicy.objects.update(half_life_h=20.0)
    assert select() == []


def test_a_query_with_lists_of_its_own_is_refused() -> None:
    select = Select(lambda: Token.objects.filter(name__in=["one"]).values_list("digest"), by="user")
    with pytest.raises(ValueError, match="cannot be composed once"):
        select([make_world().people["owner"].user.pk])
