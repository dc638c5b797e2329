"""The base of every view of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from rest_framework.request import Request
from rest_framework.views import APIView

from users.models import User
from users.permissions import Access


class ApiView(APIView):
    """A view that takes the methods for which it declares who may use them, and no other."""

    access: ClassVar[Mapping[str, Access]]
    problems: ClassVar[Mapping[str, Sequence[int]]] = {}
    """Statuses of problems that a method may answer with, beyond those that follow from its declarations."""

    @property
    def allowed_methods(self) -> list[str]:
        """The methods of the view: who may get something may also ask for its head."""
        return sorted({*self.access, *(["HEAD"] if "GET" in self.access else [])})


def asker(request: Request) -> User:
    """Return who asks, in a view that lets only users in. Only the credential says who that is."""
    return cast("User", request.user)
