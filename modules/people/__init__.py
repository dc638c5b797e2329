"""Steps whose action is a person: load a sample, confirm a colour, read a balance, or anything that one can ask for."""

from .manifest import manifest

ACTIONS: dict[str, object] = {}
"""None: nobody has to be told by code how to read a balance. The server asks, and takes the answer."""

__all__ = ["ACTIONS", "manifest"]
