"""How a message leaves: through apprise. Tests may put another transport in its place."""

from __future__ import annotations

import re
from collections.abc import Callable

from . import targets

Transport = Callable[[str, str, str], None]
"""Send to a URL a title and a body; raise :class:`TransportError` if it did not arrive."""

_STATUS = re.compile(r"error=(\d{3})\b")
_WORTH_ANOTHER_TRY = frozenset({408, 409, 423, 425, 429})


class TransportError(Exception):
    """A message did not arrive. The text holds nothing of the channel's URL."""

    def __init__(self, message: str, *, permanent: bool) -> None:
        super().__init__(message)
        self.permanent = permanent
        """Whether another try is of no use."""


def send(url: str, title: str, body: str) -> None:
    """Send a message through apprise.

    Raises
    ------
    TransportError
        If it did not arrive.
    """
    from apprise import Apprise, NotifyFormat

    try:
        targets.check(url)
    except targets.TargetError as error:
        raise TransportError(str(error), permanent=True) from error
    apprise = Apprise(asset=targets.asset())
    apprise.add(targets.instantiate(url))
    with targets.public_only() as refusals:
        result = apprise.notify(title=title, body=body, body_format=NotifyFormat.TEXT)
    if result:
        return
    if refusals:
        raise TransportError("messages are only sent to public addresses", permanent=True)
    # What apprise logs may quote the URL: only the status is taken from it.
    statuses = [int(found[1]) for entry in result.logs() if (found := _STATUS.search(str(entry.message)))]
    if not statuses:
        raise TransportError("the service cannot be reached, or does not answer in time", permanent=False)
    status = statuses[-1]
    permanent = 300 <= status < 500 and status not in _WORTH_ANOTHER_TRY
    raise TransportError(f"the service answered {status}", permanent=permanent)
