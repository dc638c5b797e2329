"""Ids: UUIDv7, so that newer rows sort behind older ones."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID

from uuid_utils.compat import uuid7

_RANDOM_BITS = (1 << 80) - 1
_VERSION_7 = 7 << 76
_VARIANT = 2 << 62
_FIXED_BITS = (15 << 76) | (3 << 62)


def new_id() -> UUID:
    """Return a new UUIDv7."""
    return uuid7()


def derived_id(parent: UUID, path: str) -> UUID:
    """Return the id of a part: a UUIDv7 with the parent's time, and else determined by parent and path."""
    digest = int.from_bytes(blake2b(path.encode(), key=parent.bytes, digest_size=10).digest(), "big")
    return UUID(int=(parent.int & ~_RANDOM_BITS) | (digest & ~_FIXED_BITS) | _VERSION_7 | _VARIANT)


def uuid_or_none(text: str) -> UUID | None:
    """Return the UUID that a text writes; None if it writes none."""
    try:
        return UUID(text)
    except ValueError:
        return None
