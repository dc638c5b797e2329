"""Log lines: one record is one line, and no secret stands in it."""

from __future__ import annotations

import logging
import re

_SECRETS = (
    (re.compile(r"octolab_[0-9a-zA-Z]{8,}"), "octolab_[redacted]"),
    (re.compile(r"(?i)((?:authorization|cookie|x-csrftoken)['\"]?\s*[:=]\s*['\"]?)[^'\"\r\n]+"), r"\1[redacted]"),
    (re.compile(r"(?i)(password|secret|sessionid|csrftoken)(['\"]?\s*[:=]\s*['\"]?)[^'\"\s,;&}]+"), r"\1\2[redacted]"),
    (re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]+@"), r"\1:[redacted]@"),
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
_IN_MESSAGE = str.maketrans({**_CONTROL, 10: "\\n", 0x2028: "\\u2028", 0x2029: "\\u2029"})
_IN_TRACEBACK = str.maketrans(_CONTROL)


def redact(text: str) -> str:
    """Return the text without tokens, cookies, passwords and credentials in addresses."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class LineFormatter(logging.Formatter):
    """Format a record as one line; what a client sent can neither start a new one nor reach the terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """Return the line, redacted, with control characters written out."""
        return redact(super().formatMessage(record)).translate(_IN_MESSAGE)

    def formatException(self, ei: object) -> str:  # noqa: N802
        """Return the traceback, redacted. It keeps its own line breaks."""
        return redact(super().formatException(ei)).translate(_IN_TRACEBACK)  # type: ignore[arg-type]
