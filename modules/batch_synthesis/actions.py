from __future__ import annotations

ACTIONS: dict = {}
