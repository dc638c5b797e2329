"""Cutting and checksums, against any bytes and against the simulation's own implementation."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modules.drivers.framing import cut_blocks, cut_lines, cut_lines_and_data, xor_checksum
from modules.drivers.line import parse_fields
from modules.drivers.pump import command_block, parse_answer
from modules.drivers.spectrometer import parse_data
from modules.simulation.cutters import BlockCutter, LineCutter

TEXT = st.text(string.ascii_letters + string.digits + "?&", min_size=1, max_size=30)
SPLITS = st.lists(st.integers(1, 7), min_size=1, max_size=40)


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        pieces.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return pieces


@given(st.integers(1, 15), st.integers(1, 7), TEXT, st.booleans(), SPLITS)
def test_the_simulation_reads_the_blocks_the_driver_writes(address, sequence, text, repeat, sizes) -> None:
    block = command_block(address, sequence, text, repeat=repeat)
    cutter = BlockCutter()
    heard = [b for piece in in_pieces(b"\xff\xff" + block, sizes) for b in cutter.feed(piece)]
    assert heard == [block]
    assert block[1] == 0x30 + address
    assert block[2] & 7 == sequence
    assert bool(block[2] & 8) is repeat
    assert block[3:-2].decode() == text


def test_a_block_as_the_manual_gives_it() -> None:
    # address 1, sequence 1, "ZR": 02 31 31 5A 52 03 and the XOR of these
    assert command_block(1, 1, "ZR") == bytes([0x02, 0x31, 0x31, 0x5A, 0x52, 0x03, 0x09])
    assert command_block(1, 1, "ZR", repeat=True)[2] == 0x39


@given(st.binary(max_size=80))
def test_a_checksum_over_data_and_itself_is_zero(data: bytes) -> None:
    assert xor_checksum(data + bytes([xor_checksum(data)])) == 0


@given(st.integers(0x40, 0x7F), TEXT, st.integers(0, 200), st.integers(1, 255))
def test_a_damaged_answer_is_never_taken(status: int, data: str, where: int, flip: int) -> None:
    head = bytes([2, 0x30, status]) + data.encode() + b"\x03"
    block = head + bytes([xor_checksum(head)])
    assert parse_answer(block) == (status, data)
    spoilt = bytearray(block)
    spoilt[where % len(block)] ^= flip
    with pytest.raises(ValueError, match=r"not an answer|checksum"):
        parse_answer(bytes(spoilt))


@given(st.lists(TEXT, max_size=8), SPLITS)
def test_lines_come_out_whole_however_they_arrive(lines: list[str], sizes: list[int]) -> None:
    data = "".join(line + "\r\n" for line in lines).encode()
    buffer, heard, cutter, simulated = bytearray(), [], LineCutter(), []
    for piece in in_pieces(data, sizes):
        buffer += piece
        heard += cut_lines(buffer)
        simulated += cutter.feed(piece)
    assert heard == simulated == [line.encode() for line in lines]


@given(st.binary(max_size=200), SPLITS)
def test_noise_never_hides_the_block_behind_it(noise: bytes, sizes: list[int]) -> None:
    head = bytes([2, 0x30, 0x60, 3])
    block = head + bytes([xor_checksum(head)])
    clean = bytes(b for b in noise if b not in (2, 3))
    buffer, heard = bytearray(), []
    for piece in in_pieces(clean + block, sizes):
        buffer += piece
        heard += cut_blocks(buffer)
    assert heard == [block]


@given(st.binary(max_size=300))
def test_cutters_survive_any_bytes(noise: bytes) -> None:
    for cut in (cut_lines, cut_blocks, cut_lines_and_data):
        buffer = bytearray(noise)
        cut(buffer)
        assert len(buffer) <= len(noise)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), SPLITS, st.integers(0, 10_000))
def test_data_blocks(values: list[float], sizes: list[int], where: int) -> None:
    import zlib

    body = np.array(values, "<f4").tobytes()
    message = f"7 DATA sample {len(values)} {len(body)} {zlib.crc32(body):08x}\n".encode() + body
    buffer, heard = bytearray(), []
    for piece in in_pieces(b"6 OK\n" + message + b"8 OK\n", sizes):
        buffer += piece
        heard += cut_lines_and_data(buffer)
    assert heard == [b"6 OK", message, b"8 OK"]
    name, got = parse_data(message)
    assert name == "sample"
    assert got.tolist() == values
    spoilt = bytearray(message)
    spoilt[-1 - where % len(body)] ^= 0x10
    with pytest.raises(ValueError, match="checksum"):
        parse_data(bytes(spoilt))


def test_fields() -> None:
    assert parse_fields('state=idle text="two words" at=stirrer.1') == {
        "state": "idle",
        "text": "two words",
        "at": "stirrer.1",
    }
    with pytest.raises(ValueError, match="key=value"):
        parse_fields("idle")
