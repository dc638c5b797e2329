"""A module that does nothing, for as long as one likes: for load tests and teaching."""

from .actions import ACTIONS
from .manifest import manifest

__all__ = ["ACTIONS", "manifest"]
