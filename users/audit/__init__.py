"""The audit log: who did what to what, from where. Append-only and hash-chained."""

from .log import acting, came_from, note, requester
from .verify import Broken, verify

__all__ = ["Broken", "acting", "came_from", "note", "requester", "verify"]
