"""What is wrong with a YAML text, in words for people who do not know the parser's."""

from __future__ import annotations

import re
from collections.abc import Sequence

MOST_SHOWN = 80
"""Characters of the offending line that are shown."""
_INDENT = "Indent what belongs together by equally many spaces, and what stands under a key by more than the key."


def explained(lines: Sequence[str], line: int, column: int, problem: str) -> str:
    """Return sentences with the place, the line as written, and what to do; places count from 0."""
    line, column = _where_it_shows(lines, line, column)
    text = lines[line] if line < len(lines) else ""
    shown = _shown(text)
    place = f"Line {line + 1}, column {column + 1}" + (f" (`{shown}`)" if shown else " (the end of the text)")
    return f"{place}: {problem}. {_advice(lines, line, column, problem)}"


def _where_it_shows(lines: Sequence[str], line: int, column: int) -> tuple[int, int]:
    """Return the last line that holds anything, if the parser stopped behind it."""
    if line < len(lines) and lines[line].strip():
        return line, column
    for number in range(min(line, len(lines)) - 1, -1, -1):
        if lines[number].strip():
            return number, len(lines[number].rstrip())
    return line, column


def _advice(lines: Sequence[str], line: int, column: int, problem: str) -> str:
    """Return what to do."""
    text = lines[line] if line < len(lines) else ""
    indent = _indent(text)
    before = next((above for above in reversed(lines[:line]) if above.strip() and above.strip()[0] != "#"), "")
    deeper = line > 0 and len(indent) != len(_indent(before))
    if "\t" in indent:
        return "Indent with spaces, not with tabs."
    if "stream" in problem:
        return "A quotation mark or bracket that is opened must be closed."
    if "',' or" in problem:
        return "Separate the values in `[…]` and `{…}` by commas, and close the bracket."
    if "mapping values" in problem:
        if deeper and ":" in before and len(re.findall(r":(?:\s|$)", text[: column + 1])) == 1:
            return _compared(indent, before)
        return "A line has one `key: value`: put a text that holds a colon in quotes."
    if "start any token" in problem:
        return "Put a text that begins with `@`, `%` or a backquote in quotes."
    if "escape" in problem:
        return "Use single quotes, in which a backslash is plain text."
    if "':'" in problem:
        if before and ":" not in before:
            return f"The line before, `{_shown(before)}`, lacks its colon: write a key as `key: value`."
        return "Write a key as `key: value`, with a colon and a space."
    if "sequence entries" in problem:
        return "Begin a list on a new line below its key, each item with `- `."
    if deeper:
        return _compared(indent, before)
    return "Here is neither `key: value` nor an item `- …` of the same list as before. " + _INDENT


def _compared(indent: str, before: str) -> str:
    spaces = f"{len(indent)} space{'' if len(indent) == 1 else 's'}"
    return f"This line is indented by {spaces}, the one before by {len(_indent(before))}. {_INDENT}"


def _shown(text: str) -> str:
    return text.strip()[:MOST_SHOWN].replace("`", "'").replace("\t", "→")


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]
