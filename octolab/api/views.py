"""The base of every view of the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rest_framework.views import APIView

from users.permissions import Access


class ApiView(APIView):
    """A view that takes the methods for which it declares who may use them, and no other."""

    access: ClassVar[Mapping[str, Access]]

    @property
    def allowed_methods(self) -> list[str]:
        """The methods of the view."""
        return sorted(self.access)
