"""Cutting a stream of bytes into the messages of a protocol.

A *cutter* takes what it can from the front of a buffer and leaves the incomplete rest. It never raises: noise
is handed on as a message that nobody will accept, or skipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Cutter = Callable[[bytearray], list[bytes]]

STX, ETX = 0x02, 0x03
LONGEST_BLOCK = 512
DATA_HEADER = re.compile(rb"^\d+ DATA \w+ \d+ (\d+) [0-9a-f]{8}$")


def cut_lines(buffer: bytearray) -> list[bytes]:
    """Cut messages that end with CR, LF or both; empty lines vanish."""
    *lines, rest = re.split(rb"[\r\n]", buffer)
    del buffer[: len(buffer) - len(rest)]
    return [line for line in lines if line]


def cut_blocks(buffer: bytearray) -> list[bytes]:
    """Cut ``STX … ETX checksum`` blocks; bytes outside a block are skipped, as the OEM protocol demands."""
    blocks: list[bytes] = []
    while True:
        start = buffer.find(STX)
        if start < 0:
            buffer.clear()
            return blocks
        del buffer[:start]
        end = buffer.find(ETX, 1)
        if end < 0 or end + 1 >= len(buffer):
            if len(buffer) <= LONGEST_BLOCK:
                return blocks
            del buffer[:1]  # an STX in noise must not swallow what follows for ever
            continue
        blocks.append(bytes(buffer[: end + 2]))
        del buffer[: end + 2]


def cut_lines_and_data(buffer: bytearray) -> list[bytes]:
    """Cut lines; behind a line ``<id> DATA <name> <count> <size> <crc32>`` its ``size`` bytes belong to
    it."""
    messages: list[bytes] = []
    while (end := buffer.find(b"\n")) >= 0:
        line = bytes(buffer[:end]).rstrip(b"\r")
        header = DATA_HEADER.match(line)
        length = end + 1 + (int(header[1]) if header else 0)
        if len(buffer) < length:
            break
        if line:
            messages.append(line + b"\n" + bytes(buffer[end + 1 : length]) if header else line)
        del buffer[:length]
    return messages


def xor_checksum(data: bytes) -> int:
    """Return all bytes XORed: the checksum of the Cavro OEM protocol (0 … 255)."""
    total = 0
    for byte in data:
        total ^= byte
    return total
