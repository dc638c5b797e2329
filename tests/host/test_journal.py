"""The journal: what was written is read again, whatever a crash did to its end."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modules.host.journal import Journal, JournalError

SLOW_DISK = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def doc(value: object) -> dict[str, object]:
    return {"k": "doc", "c": "events", "d": value}


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@SLOW_DISK
@given(st.lists(values, min_size=1, max_size=20), st.data())
def test_a_torn_end_costs_only_what_was_torn(
    tmp_path_factory: pytest.TempPathFactory, written: list[object], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    for value in written:
        journal.append(doc(value))
    journal.close()
    (path,) = folder.glob("*.jsonl")
    whole = path.read_bytes()
    kept = data.draw(st.integers(0, len(whole)), label="bytes that reached the disk")
    path.write_bytes(whole[:kept])
    again = Journal(folder)
    read = [record["d"] for record in again.replay()]
    assert read == written[: len(read)]
    # a line whose line break alone is missing is whole
    assert len(read) - whole[:kept].count(b"\n") in (0, 1)
    again.write(doc("after the crash"))
    assert [record["d"] for record in _replay(again, folder)] == [*read, "after the crash"]


@SLOW_DISK
@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.lists(st.integers(0, 12), max_size=12))
def test_what_was_not_shipped_is_offered_again_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, incarnations: list[int], shipments: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    written, shipped = 0, 0
    for count in incarnations:
        journal = Journal(folder, segment_bytes=200)
        list(journal.replay())
        assert [e.record["d"] for e in journal.take(1000, 0)] == list(range(shipped, written))
        for _ in range(count):
            journal.append(doc(written))
            written += 1
            if written % 3 == 0:
                journal.sync()
        for size in shipments[:4]:
            entries = journal.take(size, 0)
            journal.shipped(entries)
            shipped += len(entries)
        journal.close()


def test_a_file_is_kept_as_long_as_an_attempt_in_it_is_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=50)
    journal.write({"k": "claim", "id": "step/1", "nonce": "n"})
    for index in range(20):
        journal.write(doc(index))
    journal.shipped(journal.take(100, 0))
    assert any(record["k"] == "claim" for record in _replay(journal, tmp_path))

    journal = Journal(tmp_path, segment_bytes=50)
    list(journal.replay())
    journal.write({"k": "close", "id": "step/1", "nonce": "n", "changes": {}})
    journal.shipped(journal.take(100, 0))
    assert not any(record["k"] == "claim" for record in _replay(journal, tmp_path))


def _replay(journal: Journal, folder: Path) -> list[dict[str, object]]:
    journal.close()
    again = Journal(folder)
    records = [dict(record) for record in again.replay()]
    again.close()
    return records


def test_damage_in_the_middle_is_told_and_hides_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(tmp_path)
    for index in range(5):
        journal.append(doc(index))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"events", b"evants")
    path.write_bytes(b"\n".join(lines))
    again = Journal(tmp_path)
    assert [record["d"] for record in again.replay()] == [0, 1, 3, 4]
    again.close()
    assert "line 3 is damaged" in caplog.text


def test_threads_that_write_at_once_all_find_their_line_on_disk(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    missing: list[str] = []

    def write(name: str) -> None:
        for index in range(50):
            journal.write(doc(f"{name}-{index}"))
            if not any(f'"{name}-{index}"' in path.read_text() for path in tmp_path.glob("*.jsonl")):
                missing.append(f"{name}-{index}")

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    assert missing == []


def test_two_journals_in_one_folder_are_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(JournalError, match="stop the other host"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_what_is_no_json_is_refused_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with pytest.raises(TypeError):
        journal.append(doc(object()))
    journal.append(doc("fine"))
    journal.close()
    again = Journal(tmp_path)
    assert [record["d"] for record in again.replay()] == ["fine"]
    again.close()


def test_a_full_disk_is_known_before_a_step_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    assert journal.has_room
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=4096))
    assert not journal.has_room
    journal.close()


def test_what_follows_a_lost_end_is_not_taken_for_shipped(tmp_path: Path) -> None:
    """A full disk may lose the end of the journal although the store has it."""
    journal = Journal(tmp_path)
    for number in range(5):
        journal.append(doc(number))
    journal.close()
    journal = Journal(tmp_path)
    list(journal.replay())
    journal.shipped(journal.take(5, 0))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    journal = Journal(tmp_path)
    list(journal.replay())
    journal.write(doc("after"))
    journal.close()
    journal = Journal(tmp_path)
    list(journal.replay())
    assert [entry.record["d"] for entry in journal.take(9, 0)] == ["after"]
    journal.close()
