"""Batch synthesis: vials on a stirred hotplate, filled by syringe pumps, carried by an arm."""

from .actions import ACTIONS
from .manifest import manifest

__all__ = ["ACTIONS", "manifest"]
