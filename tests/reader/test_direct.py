from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.errors import DecodeError, FetchError
from h5stream.opening import open_catalog
from h5stream.reader import Catalog, Stats
from tests.h5files import (
    DIRECT_PIPELINES,
    Recipe,
    assert_same_bits,
    chunk_entries,
    flip_bytes,
    random_elements,
    write,
)
from tests.places import placed_all
from tests.windows import read_field, read_pieces


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "file.h5")


def write_pipeline(path: str, name: str, n_rows: int = 40) -> np.ndarray:
    recipe = Recipe(np.dtype("<i4"), (n_rows, 6), (8, 3), DIRECT_PIPELINES[name], (None, 6))
    rows = random_elements(recipe.shape, recipe.dtype, smooth=True)
    with h5py.File(path, "w") as file:
        write(file, "g/x", recipe, rows)
    return rows


# --------------------------------------------------------------------------------- damage


def damage(path: str, name: str, *, number: int = 5, at: int = 9) -> None:
    """Damage a chunk that the self-check does not look at; by default the one at (16, 3)."""
    entry = chunk_entries(path, name)[number]
    status = Path(path).stat()
    flip_bytes(path, entry.byte_offset + at, 4)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        ("gzip", "gzip"),
        ("shuffle gzip", "gzip"),
        ("fletcher32", "checksum"),
        ("shuffle gzip fletcher32", "checksum"),
        ("bzip2", "bzip2"),
        ("shuffle lzf fletcher32", "checksum"),
    ],
)
def test_a_damaged_chunk_is_an_error_that_says_where(path: str, pipeline: str, said: str) -> None:
    write_pipeline(path, pipeline)
    damage(path, "g/x")
    with pytest.raises(DecodeError, match=said) as caught:
        read_field(path, "g/x")
    error = caught.value
    assert (error.url, error.dataset, error.chunk_offset) == (path, "/g/x", (16, 3))
    assert "restore the file from a copy" in str(error)


def test_a_stream_raises_the_error_of_a_damaged_chunk(path: str) -> None:
    write_pipeline(path, "gzip")
    damage(path, "g/x")
    pipe = h5s.open_files(path, ["g/x"]).list_chunks(1).read_chunks().batch(8)
    batches = iter(pipe)
    with pytest.raises(DecodeError, match=r"of '/g/x' at \(16, 3\)"):
        list(batches)
    assert list(batches) == []


def test_rows_outside_a_damaged_chunk_can_be_read(path: str) -> None:
    rows = write_pipeline(path, "gzip")
    damage(path, "g/x")
    catalog = open_catalog(path, {"x": "g/x"})
    found = read_pieces(catalog, [(0, 0, 16), (0, 24, 40)])["x"]
    assert_same_bits(found, np.delete(rows, np.s_[16:24], axis=0))


@pytest.mark.parametrize("width", [3, 6], ids=["split rows", "whole rows"])
@pytest.mark.parametrize("length", [95, 60, 193])
def test_an_unfiltered_chunk_of_a_wrong_size_is_an_error(
    path: str, width: int, length: int
) -> None:
    with h5py.File(path, "w") as file:
        shape, chunks = (40, 6), (8, width)
        x = file.create_dataset("x", shape, "<i4", chunks=chunks, compression="gzip")
        x[...] = 1
        for row in (0, 16, 32):
            size = 8 * width * 4 if row != 16 else length
            x.id.write_direct_chunk((row, 0), bytes(size), filter_mask=1)
    said = f"without compression in {length} bytes, expected {width * 32}"
    with pytest.raises(DecodeError, match=said) as caught:
        read_field(path)
    assert caught.value.chunk_offset == (16, 0)


def test_a_chunk_without_filters_of_a_wrong_size_is_an_error(path: str) -> None:
    with h5py.File(path, "w", libver="earliest") as file:
        x = file.create_dataset("x", (40, 6), "<i4", chunks=(8, 6))
        x[...] = 1
    entry = chunk_entries(path, "x")[2]
    _patch_size(path, entry, 100)
    with pytest.raises(DecodeError, match=r"at \(16, 0\) is stored .* 100 bytes, expected 192"):
        read_field(path)


def _patch_size(path: str, entry: object, size: int) -> None:
    """Change the size that the chunk B-tree (version 1) has for a chunk."""
    content = Path(path).read_bytes()
    key = (192).to_bytes(4, "little") + bytes(4) + (16).to_bytes(8, "little")
    assert content.count(key) == 1
    Path(path).write_bytes(content.replace(key, size.to_bytes(4, "little") + key[4:]))


# ---------------------------------------------------------------------- files that change


def append_rows(path: str) -> None:
    with h5py.File(path, "a") as file:
        file["g/x"].resize(80, axis=0)
        file["g/x"][40:] = 7


def touch_later(path: str) -> None:
    os.utime(path, ns=(1, 1))


def replace_by_a_copy(path: str) -> None:
    shutil.copy2(path, f"{path}.copy")
    Path(f"{path}.copy").replace(path)


def truncate(path: str) -> None:
    status = Path(path).stat()
    os.truncate(path, status.st_size // 2)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


CHANGES = {
    "appended": append_rows,
    "touched": touch_later,
    "replaced": replace_by_a_copy,
    "truncated": truncate,
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("pipeline", ["none", "shuffle gzip"])
def test_a_file_that_changed_after_the_scan_is_an_error(
    path: str, pipeline: str, change: str
) -> None:
    write_pipeline(path, pipeline)
    catalog = open_catalog(path, {"x": "g/x"})
    CHANGES[change](path)
    with pytest.raises(FetchError, match="the file changed while it was being read") as caught:
        read_pieces(catalog, [(0, 0, 40)])
    assert caught.value.url == path


@pytest.mark.parametrize("change", [append_rows, touch_later, truncate])
def test_a_file_that_changes_during_an_epoch_is_an_error(
    path: str, change: Callable[[str], None]
) -> None:
    write_pipeline(path, "gzip", n_rows=4000)
    pipe = h5s.open_files(path, ["g/x"]).list_chunks(1).read_chunks(prefetch=1).batch(8)
    batches = iter(pipe)
    next(batches)
    change(path)
    with pytest.raises(FetchError, match="the file changed"):
        list(batches)


def test_a_file_that_is_gone_after_the_scan_is_an_error(path: str) -> None:
    write_pipeline(path, "gzip")
    catalog = open_catalog(path, {"x": "g/x"})
    Path(path).unlink()
    with pytest.raises(FetchError, match=r"cannot be opened .* it was there when it was scanned"):
        read_pieces(catalog, [(0, 0, 40)])


# ---------------------------------------------------------------------------- how it reads


def counted(catalog: Catalog, *ranges: tuple[int, int]) -> dict[str, float]:
    stats = Stats()
    read_pieces(catalog, [(0, start, stop) for start, stop in ranges], stats=stats)
    return stats.as_dict()


def test_a_chunk_that_serves_many_pieces_is_decoded_once(path: str) -> None:
    write_pipeline(path, "gzip")
    catalog = open_catalog(path, {"x": "g/x"})
    found = counted(catalog, (9, 11), (0, 2), (8, 9), (1, 5), (12, 16))
    assert found["decoded_bytes"] == 2 * 8 * 6 * 4


def test_a_whole_chunk_that_is_wanted_twice_comes_twice(path: str) -> None:
    rows = write_pipeline(path, "gzip")
    with h5py.File(path, "a") as file:
        file.create_dataset("whole", data=rows, chunks=(8, 6), compression="gzip")
    catalog = open_catalog(path, {"x": "whole"})
    found = read_pieces(catalog, [(0, 8, 16), (0, 0, 8), (0, 8, 16), (0, 10, 11)])["x"]
    assert_same_bits(found, rows[[*range(8, 16), *range(8), *range(8, 16), 10]])


def test_rows_without_filters_are_fetched_without_their_neighbours(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((100, 50), "u1"), chunks=(10, 50))
    catalog = open_catalog(path, {"x": "x"})
    assert counted(catalog, (3, 5), (98, 100), (55, 56))["fetched_bytes"] == 5 * 50


def test_missing_chunks_are_filled_without_reading(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (40, 6), "i4", chunks=(8, 3), compression="gzip", fillvalue=-3)
    catalog = open_catalog(path, {"x": "x"})
    assert counted(catalog, (0, 40))["fetched_bytes"] == 0
    assert (read_pieces(catalog, [(0, 0, 40)])["x"] == -3).all()


def test_members_of_one_dataset_are_decoded_together(path: str) -> None:
    table = np.zeros(64, [("a", ">i4"), ("b", "<f8", (2,)), ("c", "S3")])
    table["a"], table["b"], table["c"] = np.arange(64), np.arange(128).reshape(64, 2), b"abc"
    with h5py.File(path, "w") as file:
        file.create_dataset("t", data=table, chunks=(16,), compression="gzip")
    catalog = open_catalog(path, {"a": "t[a]", "b": "t[b]", "c": "t[c]", "all": "t"})
    stats = Stats()
    found = read_pieces(catalog, [(0, 20, 60)], stats=stats)
    assert stats.decoded_bytes == 3 * 16 * table.itemsize
    assert found["a"].tolist() == list(range(20, 60))
    assert_same_bits(found["b"], table["b"][20:60])
    assert_same_bits(found["c"], table["c"][20:60])
    assert found["all"]["a"].tolist() == list(range(20, 60))


def test_many_small_pieces_fill_more_buffers_than_one_call_takes(path: str) -> None:
    rows = np.arange(5000, dtype="<i2")
    with h5py.File(path, "w") as file:
        file["x"] = rows
    order = np.random.default_rng(0).permutation(5000).tolist()
    found = read_pieces(open_catalog(path, {"x": "x"}), [(0, i, i + 1) for i in order])["x"]
    assert found.tolist() == rows[order].tolist()


def test_chunks_larger_than_one_read_are_read(path: str) -> None:
    rows = np.random.default_rng(0).integers(0, 2**31, (6, 2**18), dtype="<i4")
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=rows, chunks=(2, 2**18), compression="lzf", shuffle=True)
    assert_same_bits(read_field(path), rows)


def test_a_window_of_no_pieces_has_no_rows(path: str) -> None:
    write_pipeline(path, "gzip")
    catalog = open_catalog(path, {"x": "g/x"})
    assert read_pieces(catalog, [])["x"].shape == (0, 6)


def test_a_small_field_beside_a_heavy_one_is_read_once(path: str) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros((400, 50)), chunks=(10, 50))
        file.create_dataset("y", data=np.arange(400), chunks=(400,), compression="gzip")
    pipe = h5s.open_files(path, ["x", "y"]).list_chunks(1).read_chunks().batch(10)
    assert np.concatenate([block["y"] for block in pipe]).tolist() == list(range(400))
    assert pipe.stats()["decoded_bytes"] == 400 * 8


def test_many_short_runs_of_a_remote_file_share_requests(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = rng.random((4000, 100)).astype("f4")
        file["values"], file["offsets"] = rng.random(4000 * 20), np.arange(4001) * 20
    chosen = np.flatnonzero(rng.random(4000) < 0.5)
    fields = {"x": "x", "v": h5s.Ragged("values", "offsets")}
    options: dict[str, Any] = {"output": "numpy", "batch_size": 7, "subset": chosen}
    with placed_all([path], "memory") as urls:
        stream = h5s.H5Stream(urls, fields, shuffle=True, **options)
        requests = int(dict(stream.explain().facts)["requests"].split()[0])
        assert requests < 20
        rows = np.concatenate([batch["x"] for batch in stream])
        values = [row.tobytes() for batch in stream for row in batch["v"]]
    with h5py.File(path) as file:
        expected = file["x"][()][chosen]
        of_rows = file["values"][()].reshape(4000, 20)[chosen]
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    assert sorted(values) == sorted(row.tobytes() for row in of_rows)
    few = h5s.H5Stream(str(path), {"x": "x"}, output="numpy", batch_size=7, subset=chosen[::50])
    assert np.array_equal(np.concatenate([batch["x"] for batch in few]), expected[::50])
