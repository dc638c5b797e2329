"""Lab time in the server's processes."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from django.conf import settings

from analysis.documents import DocumentStore, StoreError
from modules.contract.clock import CLOCK_ID, Anchor, LabClock

_log = logging.getLogger(__name__)
_RETRY_S = 5.0
_lock = threading.Lock()
_clock: LabClock | None = None
_tried_s = -_RETRY_S


def clock() -> LabClock | None:
    """Return the lab's clock, or None as long as the document store that anchors it is away.

    The anchor is set before the server starts and stays, so it is read once.
    """
    global _clock, _tried_s
    if _clock is None and time.monotonic() - _tried_s >= _RETRY_S and _lock.acquire(blocking=False):
        # One thread asks; the others do not wait for a store that may be away.
        try:
            _clock = _read()
        finally:
            _tried_s = time.monotonic()
            _lock.release()
    return _clock


def _read() -> LabClock | None:
    store = DocumentStore(settings.MONGO_URL)
    try:
        found = store.find_ids("clock", [CLOCK_ID])
    except StoreError as error:
        _log.warning("lab times are shown without dates: %s", error)
        return None
    finally:
        store.close()
    return LabClock(Anchor.model_validate(found[0]["anchor"])) if found else None


def moment(lab_s: float | None) -> dict[str, Any] | None:
    """Return a moment as the API shows it: lab seconds, and the lab's date and time (UTC) if known."""
    if lab_s is None:
        return None
    now = clock()
    return {"lab_s": round(lab_s, 3), "at": now.datetime(lab_s) if now is not None else None}
