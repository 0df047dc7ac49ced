"""Files that grow: what is flushed is there whatever happens, and nothing in parts."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.layout import journal
from tests.write.rows import SPECS, assert_equal_rows, by_h5py, by_stream, make_rows
from tests.write.test_round_trips import NUMBERS

NAMES = ["image", "label", "tokens", "counts", "text", "strings"]

GROW = """
import sys
import h5stream as h5s
from tests.write.rows import SPECS, make_rows
path, names, chunk_bytes = sys.argv[1], sys.argv[2].split(","), int(sys.argv[3])
rows = make_rows(4000)
specs = {name: SPECS[name] for name in names}
with h5s.Writer(path, specs, mode="append", chunk_bytes=chunk_bytes) as writer:
    start = len(writer)
    print(start, flush=True)
    while start < 4000:
        stop = min(4000, start + 1 + start % 37)
        writer.extend({name: rows[name][start:stop] for name in names})
        writer.flush()
        print(stop, flush=True)
        start = stop
"""


def grow_and_kill(path: Path, seconds: float, chunk_bytes: int) -> int:
    """Append rows in a process that is killed; return how many it said are there."""
    command = [sys.executable, "-c", GROW, str(path), ",".join(NAMES), str(chunk_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = int(process.stdout.readline())
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().splitlines(keepends=True)
    return max([said, *(int(line) for line in lines if line.endswith("\n"))])


def assert_holds(path: Path, at_least: int, all_rows: dict[str, Any]) -> int:
    """Check that a file holds whole rows, all that were flushed; with h5py first, as it lies."""
    with h5py.File(path) as file:
        n_rows = len(file["label"]) if "label" in file else 0
    assert n_rows >= at_least
    expected = {name: all_rows[name][:n_rows] for name in NAMES}
    if n_rows:
        assert_equal_rows(by_h5py(path, NAMES), expected)
    return n_rows


@pytest.mark.parametrize("chunk_bytes", [500, 2**20])
def test_killed_writers_leave_what_they_flushed(tmp_path: Path, chunk_bytes: int) -> None:
    path = tmp_path / "log.h5"
    generator = random.Random(chunk_bytes)
    all_rows = make_rows(4000)
    times = int(os.environ.get("H5STREAM_KILLS", "2"))
    for number in range(times):
        if number % 10 == 0:
            path.unlink(missing_ok=True)
        said = grow_and_kill(path, generator.uniform(0, 0.4), chunk_bytes)
        if Path(f"{path}.journal").exists():
            next(iter(h5s.H5Stream(path, ["label"])))  # carries it out
        n_rows = assert_holds(path, said, all_rows)
    assert n_rows
    assert_equal_rows(by_stream(path, NAMES), {name: all_rows[name][:n_rows] for name in NAMES})
    with h5s.Writer(path, mode="append") as writer:
        assert len(writer) == n_rows
        writer.extend({name: all_rows[name][n_rows : n_rows + 9] for name in NAMES})
    assert_equal_rows(by_h5py(path, NAMES), {n: all_rows[n][: n_rows + 9] for n in NAMES})


class Killed(BaseException):
    """Stands for kill -9 in this process."""


@pytest.mark.parametrize("writes", range(9))
def test_a_commit_that_is_cut_off_anywhere_is_there_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    path, copy = tmp_path / "log.h5", tmp_path / "copy.h5"
    all_rows = make_rows(300)
    specs = {name: SPECS[name] for name in NAMES}
    writer = h5s.Writer(path, specs, mode="append", chunk_bytes=2000)
    writer.extend({name: all_rows[name][:200] for name in NAMES})
    writer.flush()
    writer.extend({name: all_rows[name][200:] for name in NAMES})
    left, real = [writes], journal.write_at

    def write_some(descriptor: int, data: memoryview, place: int) -> None:
        if not left[0]:
            real(descriptor, data[: len(data) // 2], place)
            raise Killed
        left[0] -= 1
        real(descriptor, data, place)

    real_commit = journal.JournaledFile.commit

    def commit(self: journal.JournaledFile) -> None:
        monkeypatch.setattr(journal, "write_at", write_some)
        real_commit(self)

    monkeypatch.setattr(journal.JournaledFile, "commit", commit)
    with contextlib.suppress(Killed):
        writer.flush()
    for each in tmp_path.glob("log.h5*"):
        shutil.copy(each, str(each).replace("log.h5", "copy.h5"))
    monkeypatch.undo()
    writer.discard()
    names = {each.name for each in tmp_path.iterdir()}
    assert ("copy.h5.journal" in names) == (writes > 1)
    rows = by_stream(copy, NAMES)
    assert_equal_rows(rows, {name: all_rows[name][: 300 if writes > 1 else 200] for name in NAMES})
    assert not Path(f"{copy}.journal").exists()
    assert_equal_rows(by_h5py(copy, NAMES), rows)


def test_a_journal_larger_than_a_piece_is_written_and_carried_out_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.h5"
    monkeypatch.setattr(journal, "_PIECE_BYTES", 5000)
    with h5s.Writer(path, mode="append") as writer:
        for number in range(200):
            writer.append({"x": np.full(50, number)})
            if number % 50 == 0:
                writer.flush()
    before = path.read_bytes()
    changed = {place: bytes([place % 251]) * 4096 for place in range(0, 64 * 4096, 4096)}
    journal._write_journal(str(path), 64 * 4096, changed)
    assert Path(f"{path}.journal").stat().st_size > 64 * 4096
    journal.replay_journal(str(path))
    assert path.read_bytes() == b"".join(changed.values()) != before
    assert not Path(f"{path}.journal").exists()


def test_a_damaged_journal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with h5s.Writer(path, mode="append") as writer:
        writer.append({"x": 1})
    note = Path(f"{path}.journal")
    note.write_bytes(b"notes of a physicist")
    assert len(h5s.Dataset(path)) == 1
    with pytest.raises(h5s.LayoutError, match="journal: is in the way"):
        h5s.Writer(path, mode="append")
    note.write_bytes(journal._MAGIC + bytes(100))
    with pytest.raises(h5s.LayoutError, match="journal: is damaged"):
        len(h5s.Dataset(path))


def test_a_second_writer_and_a_reader_are_told(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with h5s.Writer(path, mode="append") as writer:
        writer.append({"x": 1})
        writer.flush()
        with pytest.raises(h5s.LayoutError, match="open for writing elsewhere"):
            h5s.Writer(path, mode="append")
        with pytest.raises(h5s.LayoutError, match="open for writing elsewhere"):
            next(iter(h5s.H5Stream(path)))
        writer.append({"x": 2})
    assert next(iter(h5s.H5Stream(path, batch_size=2)))["x"].tolist() == [1, 2]


def test_a_stream_notices_that_its_file_has_grown(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    with h5s.Writer(path, mode="append") as writer:
        writer.extend({"x": np.arange(10)})
    stream = h5s.H5Stream(path, batch_size=2)
    assert len(list(stream)) == 5
    with h5s.Writer(path, mode="append") as writer:
        writer.extend({"x": np.arange(10)})
    with pytest.raises(h5s.H5StreamError, match=r"changed|log\.h5"):
        list(stream)
    assert len(list(h5s.H5Stream(path, batch_size=2))) == 10


def test_rows_before_an_error_are_kept_in_a_file_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"

    def fail() -> None:
        with h5s.Writer(path, mode="append") as writer:
            writer.append({"x": 1})
            raise RuntimeError("training broke down")

    with pytest.raises(RuntimeError, match="broke down"):
        fail()
    assert next(iter(h5s.H5Stream(path, batch_size=1)))["x"].tolist() == [1]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.h5"
    with h5s.Writer(path, mode="append", compression=None) as writer:
        writer.extend({"x": np.arange(1000)})
    before = path.read_bytes()
    writer = h5s.Writer(path, mode="append")

    def refuse(*_arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal, "write_at", refuse)
    writer.extend({"x": np.arange(1000)})
    with pytest.raises(h5s.WriteError, match=r"log\.h5: cannot be written.*as it was"):
        writer.flush()
    with pytest.raises(h5s.WriteError, match="the writer is closed"):
        writer.append({"x": 1})
    monkeypatch.undo()
    assert path.read_bytes() == before


def test_going_on_takes_the_columns_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.h5"
    rows = make_rows(100)
    specs = {name: SPECS[name] for name in NAMES}
    for compression, start in (("zstd", 0), ("gzip", 40), (None, 70)):
        stop = {0: 40, 40: 70, 70: 100}[start]
        options: Any = {"mode": "append", "compression": compression, "chunk_bytes": 700}
        with h5s.Writer(path, specs if not start else None, **options) as writer:
            assert len(writer) == start
            writer.extend({name: rows[name][start:stop] for name in NAMES})
            writer.add_split(f"from {start}", np.arange(start, stop))
    assert_equal_rows(by_h5py(path, NAMES), {name: rows[name] for name in NAMES})
    stream = h5s.H5Stream(path, ["label"], subset={"splits/from 40": True}, batch_size=30)
    assert next(iter(stream))["label"].tolist() == [int(n) for n in rows["label"][40:70]]
    with pytest.raises(h5s.ConfigError, match="has the columns"):
        h5s.Writer(path, {"x": h5s.TextColumn()}, mode="append")


@pytest.mark.parametrize("kind", [*NUMBERS, "S5", "bfloat16"])
@pytest.mark.parametrize("compression", ["gzip", None])
def test_types_are_kept_where_rows_are_appended(
    tmp_path: Path, kind: str, compression: Any
) -> None:
    path, values = tmp_path / "a.h5", np.arange(12).astype(kind if kind != "bfloat16" else "f4")
    values = values.astype(h5s.DenseColumn((), kind).dtype)
    for part in (values[:5], values[5:]):
        with h5s.Writer(path, mode="append", compression=compression) as writer:
            writer.extend({"x": part})
    batch = next(iter(h5s.H5Stream(path, batch_size=12, output="numpy")))
    assert batch["x"].dtype == values.dtype
    np.testing.assert_array_equal(batch["x"], values)


def test_files_of_others_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(3)
    before = path.read_bytes()
    with pytest.raises(h5s.LayoutError, match=r"not made by h5stream\.Writer"):
        h5s.Writer(path, mode="append")
    path.write_bytes(b"text")
    with pytest.raises(h5s.LayoutError, match="cannot be opened as HDF5"):
        h5s.Writer(path, mode="append")
    path.write_bytes(before)
    assert np.array_equal(next(iter(h5s.H5Stream(path, batch_size=3)))["x"], np.arange(3))
