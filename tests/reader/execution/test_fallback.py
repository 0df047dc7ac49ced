from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.errors import DecodeError, FetchError
from h5stream.layout import DatasetLayout, scan_file
from h5stream.opening import open_catalog
from h5stream.reader.execution.fallback import FallbackFile, can_hdf5_undo
from tests.h5files import (
    H5PY_PIPELINES,
    Recipe,
    assert_same_bits,
    chunk_entries,
    flip_bytes,
    random_elements,
    write,
)
from tests.windows import read_pieces


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file.h5")


def write_rows(path: str, pipeline: str = "scaleoffset", n_rows: int = 100) -> np.ndarray:
    recipe = Recipe(np.dtype("<i4"), (n_rows, 3), (16, 3), H5PY_PIPELINES[pipeline])
    rows = random_elements(recipe.shape, recipe.dtype, smooth=True)
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, rows)
    return rows


def layout_of(path: str, name: str = "x") -> DatasetLayout:
    return scan_file(path, [name]).datasets[name]


def test_rows_are_read_as_h5py_converts_them(path: str) -> None:
    rows = write_rows(path)
    file = FallbackFile(path)
    assert_same_bits(file.read(layout_of(path), 10, 37), rows[10:37])
    file.close()


def test_a_closed_file_opens_again_at_the_next_read(path: str) -> None:
    rows = write_rows(path)
    layout, file = layout_of(path), FallbackFile(path)
    for _ in range(2):
        assert_same_bits(file.read(layout, 0, 2), rows[:2])
        file.close()


def test_nothing_is_opened_before_the_first_read(tmp_path: Path) -> None:
    FallbackFile(str(tmp_path / "nothing.h5")).close()


def test_a_file_that_cannot_be_opened_is_an_error(path: str) -> None:
    write_rows(path)
    layout = layout_of(path)
    Path(path).unlink()
    with pytest.raises(FetchError, match=r"file\.h5: cannot be opened any more"):
        FallbackFile(path).read(layout, 0, 1)


def test_rows_that_hdf5_cannot_read_are_an_error(path: str) -> None:
    write_rows(path, "gzip gzip")
    flip_bytes(path, chunk_entries(path, "x")[1].byte_offset + 1, 4)
    file = FallbackFile(path)
    with pytest.raises(DecodeError, match="HDF5 cannot read rows 16 to 32 of '/x'") as caught:
        file.read(layout_of(path), 16, 32)
    file.close()
    assert (caught.value.url, caught.value.dataset) == (path, "/x")


@pytest.mark.parametrize(
    ("number", "answer"),
    [(1, True), (32026, True), (32008, True), (7307, False)],
    ids=["gzip", "blosc2", "bitshuffle", "unknown"],
)
def test_hdf5_is_asked_which_filters_it_has(number: int, answer: bool) -> None:
    assert can_hdf5_undo(number) is answer


@pytest.mark.parametrize("pipeline", H5PY_PIPELINES)
def test_a_stream_through_h5py_gives_every_row(path: str, pipeline: str) -> None:
    rows = write_rows(path, pipeline)
    pipe = h5s.open_files(path, ["x"]).list_chunks(1).read_chunks(threads=3).batch(7)
    assert_same_bits(np.concatenate([block["x"] for block in pipe]), rows)


def test_a_file_that_changed_after_the_scan_is_an_error(path: str) -> None:
    write_rows(path)
    catalog = open_catalog(path, {"x": "x"})
    os.utime(path, ns=(1, 1))
    with pytest.raises(FetchError, match="the file changed"):
        read_pieces(catalog, [(0, 0, 100)])


def test_a_stream_that_ended_holds_no_file_open(path: str) -> None:
    write_rows(path)
    assert len(list(h5s.open_files(path, ["x"]).list_chunks().read_chunks().batch(50))) == 2
    with h5py.File(path, "a") as file:
        file["more"] = 1


def test_threads_take_turns_on_one_file(path: str) -> None:
    rows = write_rows(path, n_rows=320)
    layout, file = layout_of(path), FallbackFile(path)
    found: dict[int, np.ndarray] = {}

    def read(start: int) -> None:
        found[start] = file.read(layout, start, start + 16)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(0, 320, 16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    file.close()
    assert_same_bits(np.concatenate([found[start] for start in sorted(found)]), rows)


def test_pieces_in_any_order_and_members_come_out_of_one_read(path: str) -> None:
    table = np.zeros(50, [("a", "<i4"), ("b", ">f8")])
    table["a"], table["b"] = np.arange(50), np.arange(50) / 4
    recipe = Recipe(table.dtype, (50,), (8,), H5PY_PIPELINES["bitshuffle lz4"])
    with h5py.File(path, "w") as file:
        write(file, "t", recipe, table)
    catalog = open_catalog(path, {"a": "t[a]", "b": "t[b]"})
    found = read_pieces(catalog, [(0, 40, 50), (0, 3, 9), (0, 4, 5)])
    order = [*range(40, 50), *range(3, 9), 4]
    assert found["a"].tolist() == order
    assert found["b"].tolist() == [i / 4 for i in order]


def test_a_catalog_that_goes_through_h5py_can_be_pickled(path: str) -> None:
    rows = write_rows(path)
    catalog = pickle.loads(pickle.dumps(open_catalog(path, {"x": "x"})))
    assert_same_bits(read_pieces(catalog, [(0, 5, 9)])["x"], rows[5:9])


@pytest.mark.parametrize("kind", [">i4", "<f8", ">f8", "<u2"])
def test_elements_of_variable_length_come_in_their_byte_order(tmp_path: Path, kind: str) -> None:
    rows = [[1, 2, 3], [4], [], [5, 60_000]]
    stored = h5py.vlen_dtype(np.dtype(kind))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        plain = file.create_dataset("plain", len(rows), stored)
        compact_list = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact_list.set_layout(h5py.h5d.COMPACT)
        made = h5py.h5t.py_create(stored, logical=True)
        space = h5py.h5s.create_simple((len(rows),))
        compact = h5py.Dataset(h5py.h5d.create(file.id, b"compact", made, space, compact_list))
        for number, row in enumerate(rows):
            plain[number] = compact[number] = row
        layout = h5py.VirtualLayout((len(rows),), stored)
        layout[:] = h5py.VirtualSource(plain)
        file.create_virtual_dataset("virtual", layout)
    for name in ("plain", "compact", "virtual"):
        stream = h5s.H5Stream(tmp_path / "v.h5", [name], batch_size=4, output="numpy")
        (batch,) = stream
        assert [row.tolist() for row in batch[name]] == rows, name
