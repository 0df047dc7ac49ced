from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from h5stream.pipes.explain import Explanation, FieldReport, explain, format_bytes
from tests.places import Place
from tests.streams import blocks_of, write_columns, write_rows


def facts(explanation: Explanation) -> dict[str, str]:
    return dict(explanation.facts)


def slow_amplification(
    stream: h5s.H5Stream, chunk_rows: int, n_rows: int, buffer_size: int
) -> float:
    """Decode every chunk that a window touches, window by window, and count rows."""
    decoded = used = 0
    window: list[int] = []
    chunks = stream.row_chunks_of(0)
    for number, chunk in enumerate(chunks, 1):
        window.extend(range(chunk.start, chunk.stop))
        if len(window) >= buffer_size or number == len(chunks):
            for first in {row // chunk_rows * chunk_rows for row in window}:
                decoded += min(chunk_rows, n_rows - first)
            used += len(window)
            window = []
    return decoded / used


@given(
    st.integers(1, 60), st.integers(1, 9), st.integers(1, 70), st.integers(1, 30), st.integers(0, 9)
)
def test_amplification_is_what_counting_gives(
    tmp_path_factory: pytest.TempPathFactory,
    place: Place,
    n_rows: int,
    chunk_rows: int,
    other_chunk_rows: int,
    buffer_size: int,
    seed: int,
) -> None:
    path = tmp_path_factory.mktemp("explain") / "a.h5"
    with h5py.File(path, "w") as file:
        # Larger than what stays in memory, without taking the room in the file.
        for name, rows, width in (("a", chunk_rows, 2**19), ("b", other_chunk_rows, 2**19 - 1)):
            chunks = (rows, width)
            file.create_dataset(
                name,
                (n_rows, width),
                "u1",
                chunks=chunks,
                compression="gzip",
                maxshape=(None, width),
            )
    fields = ["a", "b"]
    stream = h5s.H5Stream(place(path), fields, shuffle=True, seed=seed, buffer_size=buffer_size)
    first, second = explain(stream).fields
    if "memory" in second.route:
        assert second.amplification == 1
    else:
        found = second.amplification
        assert found == pytest.approx(
            slow_amplification(stream, other_chunk_rows, n_rows, buffer_size)
        )
    assert first.amplification == 1


def test_facts_say_what_the_epoch_reads(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 40)
    stream = h5s.H5Stream(path, ["row", "x"], batch_size=16, shuffle=True)
    found = facts(stream.explain())
    assert found["files"].startswith("1 (")
    assert found["rows"] == "40 of 20 B"
    assert found["row chunks"] == "1 of at most 40 rows (800 B)"
    assert found["lanes"] == "1 of 1"
    assert found["read at once"] == "at most 40 rows (800 B)"
    assert found["in memory"].startswith("at most ")
    assert found["first batch"] == "once 40 rows (800 B) are read"
    assert found["batches"] == str(len(stream)) == "3"
    assert found["decoded"] == "1.00 bytes for each byte used"


def test_windows_and_lanes_of_one_rank_are_shown(tmp_path: Path) -> None:
    pipe = h5s.open_files(write_rows(tmp_path / "a.h5", 40), ["x"]).list_chunks(target_bytes=1)
    pipe = pipe.shuffle_chunks(0).shard(rank=1, world_size=2, lanes=4).read_chunks()
    found = facts(explain(pipe.shuffle_rows(7).batch(5)))
    assert found["lanes"] == "2 of 4"
    assert found["batches"] == "4"
    assert found["read at once"].split()[2] in ("8", "9", "10")


def test_length_of_a_pipe_with_where_is_left_open(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 40)).where(lambda columns: columns["row"] > 1)
    assert facts(explain(pipe.batch(4)))["batches"] == "known only after a run"


def test_fields_say_how_they_are_stored_and_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "x", data=np.zeros((8, 3), "f4"), chunks=(4, 3), compression="gzip", shuffle=True
        )
        file["c"] = np.zeros(8, [("a", "i2")])
    stream = h5s.H5Stream(tmp_path / "a.h5", {"x": "x", "label": "c[a]"})
    x, label = stream.explain().fields
    assert x == FieldReport("x", "/x", "float32 3", "(4, 3)", "shuffle, gzip", "direct", 1.0)
    assert (label.name, label.dataset, label.kind, label.filters) == (
        "label",
        "/c",
        "int16",
        "none",
    )


def advice_of(path: Path, **options: Any) -> str:
    return "\n".join(h5s.H5Stream(path, **options).explain().advice)


def test_advice_names_fields_that_go_through_h5py(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(8), chunks=(4,), scaleoffset=0)
    assert "'x' goes through h5py, behind one lock (" in advice_of(tmp_path / "a.h5")


def test_advice_warns_of_rows_cut_into_many_chunks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (8, 90), "f4", chunks=(8, 10))
    assert "is cut into 9 chunks across each row" in advice_of(tmp_path / "a.h5")


def test_advice_warns_of_chunks_that_are_decoded_again(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", (64, 2**19 + 1), "u1", chunks=(1, 2**19 + 1), compression="gzip")
        file.create_dataset("b", (64, 2**19), "u1", chunks=(64, 2**19), compression="gzip")
    found = advice_of(tmp_path / "a.h5", shuffle=True, buffer_size=8)
    assert "'b' is decoded 8.0 times over: its chunks of 64 rows" in found


def test_advice_warns_of_huge_chunks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (80, 2**20), "u1", chunks=(80, 2**20))
    assert "has chunks of 83.9 MB; chunks of about 1 MB, like (1, 1048576)" in advice_of(
        tmp_path / "a.h5"
    )


def test_advice_ends_with_the_command_that_stores_it_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a b.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((1200, 10)), chunks=(1, 10), compression="gzip")
        file.create_dataset("t", data=["text"] * 1200, dtype=h5py.string_dtype())
    found = advice_of(path)
    assert "'x' has 1200 chunks of 80 B, each decoded by itself" in found
    assert "'t' has variable length" in found
    assert found.endswith("what that gains")
    command = found[found.index("`h5stream") + 1 : found.rindex("`")]
    words = [*shlex.split(command)[1:-1], str(tmp_path / "fast.h5")]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert "repack" not in advice_of(tmp_path / "fast.h5")


def test_advice_warns_of_windows_that_mix_few_row_chunks(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (64, 2**20), "u1", chunks=(1, 2**20))
    stream = {"shuffle": True, "buffer_size": 8}
    assert "a window mixes only 8 of 64 row chunks" in advice_of(tmp_path / "a.h5", **stream)
    assert advice_of(tmp_path / "a.h5", **{**stream, "buffer_size": 16}) == ""
    assert advice_of(tmp_path / "a.h5") == ""


def test_html_escapes_names(tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", {"<b>x</b>": np.arange(8)})
    markup = h5s.H5Stream(path).explain()._repr_html_()
    assert "<b>" not in markup
    assert markup.count("&lt;b&gt;x&lt;/b&gt;") == 2


@pytest.mark.parametrize(
    ("rows", "amplification"),
    [(range(100), 1), (range(0, 100, 5), 5), ([*range(50), *range(50)], 0.5), ([7, 3, 99], 5)],
    ids=str,
)
def test_the_chunks_that_serve_a_subset_are_counted(
    tmp_path: Path, rows: Any, amplification: float
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100), chunks=(5,), compression="gzip")
    stream = h5s.H5Stream(tmp_path / "a.h5", ["x"], subset=rows, shuffle=True)
    assert stream.explain().amplification == pytest.approx(amplification)
    list(stream)
    assert stream.stats()["decoded_bytes"] == pytest.approx(amplification * len(rows) * 8)


def test_text_has_facts_fields_and_advice(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=np.arange(8), chunks=(4,), scaleoffset=0)
    text = str(h5s.H5Stream(tmp_path / "a.h5").explain())
    assert text.startswith("files ")
    assert "\nadvice: 'x' goes through h5py" in text
    assert all(line == line.rstrip() for line in text.splitlines())


def test_explaining_reads_nothing_and_starts_no_epoch(tmp_path: Path) -> None:
    stream = h5s.H5Stream(write_rows(tmp_path / "a.h5", 20), ["row"], batch_size=4, shuffle=True)
    stream.explain()
    assert stream.stats()["fetched_bytes"] == 0
    first = [batch["row"].tolist() for batch in stream]
    stream.set_epoch(0)
    assert [batch["row"].tolist() for batch in stream] == first


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (7e12, "7000.0 GB")],
)
def test_bytes_are_written_for_people(count: float, expected: str) -> None:
    assert format_bytes(count) == expected


def test_every_pipe_explains_itself(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 40)
    files = h5s.open_files(path, ["x"])
    assert facts(files.explain())["rows"] == "40 of 12 B"
    assert not files.list_chunks().explain().fields
    stream = h5s.H5Stream(path, ["x"], batch_size=8, shuffle=True)
    assert str(stream.map(dict).explain()) == str(stream.explain())
    loader = h5s.Loader(stream, num_workers=2)
    assert facts(loader.explain())["workers"].startswith("2;")
    assert facts(loader.explain())["batches"] == "3"
    assert loader.stats().keys() == stream.stats().keys()


def test_notebooks_show_tables_without_opening_files() -> None:
    stream = h5s.H5Stream("no-such-<*>.h5", ["x", "y"], batch_size=4, shuffle=True)
    for shown in (stream, stream.map(dict), h5s.Loader(stream), h5s.Dataset("no-such-<*>.h5")):
        text = shown._repr_html_()
        assert "no-such-&lt;*&gt;.h5" in text
        assert "<table>" in text
    assert "batch_size=4" in stream._repr_html_()
    assert "streams</th>" in h5s.mix([stream, stream])._repr_html_()


def test_memory_is_about_what_an_epoch_takes(tmp_path: Path) -> None:
    """Held against a process of its own, whose memory nothing else has grown."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = np.random.default_rng(0).integers(0, 9, (3000, 16384), np.uint8)
        file.create_dataset("x", data=data, chunks=(64, 16384), compression="lzf")
        file["y"] = np.arange(3000)
    code = f"""
import os
import h5stream as h5s

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

stream = h5s.H5Stream({str(path)!r}, batch_size=64, shuffle=True, buffer_size=1000, threads=2)
for batch in h5s.H5Stream({str(path)!r}, ["y"], batch_size=64):
    pass
before = resident()
print(max(resident() for batch in stream) - before)
print(dict(stream.explain().facts)["in memory"])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, told = run.stdout.splitlines()
    found, unit = told.removeprefix("at most ").split()
    expected = float(found) * {"kB": 1e3, "MB": 1e6}[unit]
    assert 0.6 * expected < int(grown) < 1.15 * expected
