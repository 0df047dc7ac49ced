"""read: what h5py reads of any part of any dataset, from disk and from elsewhere."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream import arrays
from tests.h5files import assert_same_bits, flip_bytes, native
from tests.places import PLACES, placed
from tests.properties.test_parity import (
    CONTENTS,
    FILE_KINDS,
    chunked_recipes,
    contiguous_recipes,
    expected_rows,
    written,
)

everywhere = pytest.mark.parametrize("where", PLACES)


@st.composite
def axis_parts(draw: st.DrawFn, size: int) -> Any:
    """Draw what selects positions along one axis."""
    places = st.integers(-size, size - 1) if size else st.nothing()
    lists = st.lists(places, max_size=8) if size else st.just([])
    kinds = [
        st.slices(size),
        lists,
        lists.map(lambda some: np.array(some, "i2")),
        st.lists(st.booleans(), min_size=size, max_size=size).map(lambda some: np.array(some, "?")),
        *([places] if size else []),
    ]
    return draw(st.one_of(kinds))


@st.composite
def selections(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Draw an index of some axes; those behind an ellipsis count from the end."""
    front = draw(st.integers(0, len(shape)))
    back = draw(st.integers(0, len(shape) - front))
    first = [draw(axis_parts(size)) for size in shape[:front]]
    if front == 1 and not back and draw(st.booleans()):
        return first[0]
    if not back:
        return tuple(first)
    return (*first, ..., *(draw(axis_parts(size)) for size in shape[len(shape) - back :]))


def selected(array: np.ndarray, selection: Any) -> np.ndarray:
    """Index each axis by itself, the last one first."""
    parts = selection if isinstance(selection, tuple) else (selection,)
    at = next((n for n, part in enumerate(parts) if part is ...), None)
    if at is not None:
        missing = array.ndim - len(parts) + 1
        parts = (*parts[:at], *(slice(None),) * missing, *parts[at + 1 :])
    for axis, part in reversed(list(enumerate(parts))):
        if isinstance(part, list):
            part = np.array(part, np.int64)
        array = array[(*(slice(None),) * axis, part)]
    return array


def check(path: str, where: str, expected: np.ndarray, data: st.DataObject) -> None:
    selection = data.draw(selections(expected.shape))
    threads = data.draw(st.sampled_from([None, 1, 3]))
    with placed(path, where) as place:
        assert_same_bits(np.asarray(h5s.read(place, "x", threads=threads)), expected)
        found = h5s.read(place, "x", selection, threads=threads)
    assert_same_bits(np.asarray(found), np.asarray(selected(expected, selection)))


PIPELINES = ["none", "shuffle gzip", "fletcher32", "nbit", "bitshuffle lz4"]


@everywhere
@pytest.mark.parametrize("pipeline", PIPELINES)
@given(data=st.data(), contents=CONTENTS, kind=FILE_KINDS)
def test_any_part_of_chunks_is_what_h5py_reads(
    pipeline: str, where: str, data: st.DataObject, contents: dict, kind: dict
) -> None:
    recipe = data.draw(chunked_recipes(pipeline))
    with written(recipe, contents, kind) as path:
        check(path, where, expected_rows(path, recipe), data)


@everywhere
@given(recipe=contiguous_recipes(), data=st.data(), contents=CONTENTS, kind=FILE_KINDS)
def test_any_part_of_contiguous_rows_is_what_h5py_reads(
    where: str, recipe: Any, data: st.DataObject, contents: dict, kind: dict
) -> None:
    with written(recipe, contents, kind) as path:
        check(path, where, expected_rows(path, recipe), data)


@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 6)),
    chunk=st.tuples(st.integers(1, 9), st.integers(1, 4)),
    options=st.sampled_from([{}, {"shuffle": True}, None]),
    data=st.data(),
)
def test_rows_of_many_groups_come_together(
    shape: tuple[int, int], chunk: tuple[int, int], options: dict | None, data: st.DataObject
) -> None:
    values = np.arange(shape[0] * shape[1], dtype=np.int32).reshape(shape)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_GROUP_BYTES", data.draw(st.sampled_from([1, 64, 200])))
        patch.setattr(arrays, "_NEAR_BYTES", data.draw(st.sampled_from([1, 20, 4096])))
        patch.setattr(arrays, "_LEAST_SHARE", data.draw(st.sampled_from([1, 3])))
        path = Path(folder) / "file.h5"
        with h5py.File(path, "w") as file:
            chunked = (
                {} if options is None else {**options, "chunks": chunk, "maxshape": (None,) * 2}
            )
            file.create_dataset("x", data=values, **chunked)
        check(str(path), "disk", values, data)


@everywhere
def test_a_mask_of_all_axes_gives_one_axis(where: str, tmp_path: Path) -> None:
    values = np.arange(2400).reshape(20, 12, 10)
    mask = values % 7 == 3
    mask[4:9] = False
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(4, 5, 10), compression="gzip")
        expected = file["x"][mask]
    with placed(tmp_path / "file.h5", where) as place:
        assert_same_bits(h5s.read(place, "x", mask), expected)


def test_a_dataset_of_one_chunk_row_is_read_along_another_axis(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (3, 40, 50))
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("x", data=values, chunks=(3, 4, 7), compression="gzip")
    for selection in (
        None,
        np.s_[1],
        np.s_[:, 3:30, ::-2],
        np.s_[[2, 0], :, 5],
        np.s_[..., [7, 1]],
    ):
        found = h5s.read(tmp_path / "file.h5", "x", selection, threads=3)
        expected = values if selection is None else values[selection]
        assert_same_bits(found, expected)
        assert found.flags.c_contiguous


WORDS = ["", "a", "höher", "日本", "x" * 300]


@everywhere
@pytest.mark.parametrize("chunks", [None, (3, 2), (4, 3)], ids=str)
def test_elements_of_variable_length_are_objects_as_in_h5py(
    where: str, chunks: tuple[int, int] | None, tmp_path: Path
) -> None:
    words = np.array([[WORDS[(i * 3 + j) % 5] for j in range(3)] for i in range(10)], object)
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.create_dataset("text", data=words, chunks=chunks, dtype=h5py.string_dtype())
        numbers = file.create_dataset("numbers", (10, 3), h5py.vlen_dtype(">i4"), chunks=chunks)
        for i in range(10):
            for j in range(3):
                numbers[i, j] = np.arange(i * j)
        file["line"] = words[:, 0]
    lists = np.s_[[7, 2, 2], ::-1]
    with placed(tmp_path / "file.h5", where) as place:
        assert h5s.read(place, "text").tolist() == words.tolist()
        assert h5s.read(place, "text", lists).tolist() == words[lists].tolist()
        assert h5s.read(place, "text", (4, -1)) == words[4, -1]
        assert h5s.read(place, "line", slice(2, 8, 3)).tolist() == words[2:8:3, 0].tolist()
        assert h5s.read(place, "line", []).shape == (0,)
        found = h5s.read(place, "numbers", np.s_[3:, 1:])
    assert found.shape == (7, 2)
    for i in range(7):
        for j in range(2):
            assert_same_bits(found[i, j], np.arange((i + 3) * (j + 1), dtype=np.int32))


def test_fields_say_how_elements_are_converted(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(12, dtype=np.int16).reshape(4, 3)
        file["x"].attrs["scale_factor"] = 0.5
        file.create_dataset("text", data=[b"a", b"\xff\xfe", b""], dtype=h5py.string_dtype())
    assert_same_bits(h5s.read(path, h5s.Dense("x", dtype="f4"), 1), np.array([3, 4, 5], "f4"))
    assert h5s.read(path, h5s.Dense("x", decode_cf=True), (1, 2)) == 2.5
    assert h5s.read(path, h5s.Vlen("text", text=False)).tolist() == [b"a", b"\xff\xfe", b""]
    assert h5s.read(path, h5s.Vlen("text", errors="replace"), 1) == "\ufffd\ufffd"
    with pytest.raises(h5s.DecodeError, match=r"row 1 of '/text'.*errors="):
        h5s.read(path, "text")
    with pytest.raises(h5s.ConfigError, match="say with selection="):
        h5s.read(path, h5s.Dense("x", axis=1))


@everywhere
def test_scalars_come_without_axes(where: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["number"], file["text"], file["bytes"] = np.float32(2.5), "höher", np.bytes_("ab")
        file["pair"] = np.array((3, 4.5), [("a", "i2"), ("b", "f8")])
    with placed(tmp_path / "file.h5", where) as place:
        number = h5s.read(place, "number", ())
        assert (number, number.dtype) == (2.5, np.float32)
        assert h5s.read(place, "text") == "höher"
        assert h5s.read(place, "bytes") == b"ab"
        assert h5s.read(place, "pair[b]") == 4.5


def test_members_of_compound_types_come_by_name(tmp_path: Path) -> None:
    table = np.zeros(9, [("a", ">i4"), ("v", "f4", (2,))])
    table["a"], table["v"] = np.arange(9), np.arange(18).reshape(9, 2)
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file["t"] = table
    assert_same_bits(h5s.read(tmp_path / "file.h5", "t[v]", slice(2, 9, 2)), table["v"][2:9:2])
    assert_same_bits(h5s.read(tmp_path / "file.h5", "t[a]", [5, 1]), native(table["a"][[5, 1]]))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        file["group/x"] = np.arange(20).reshape(10, 2)
        file["reference"] = file["group/x"].ref
        file["references"] = np.array([file["group/x"].ref], h5py.ref_dtype)
        file.create_dataset("null", data=h5py.Empty("i4"))
    return path


@pytest.mark.parametrize(
    ("dataset", "selection", "told"),
    [
        ("group/x", 10, "no position 10 along axis 0 of 10"),
        ("group/x", (0, [1, -3]), "no position -3 along axis 1 of 2"),
        ("group/x", (0, 0, 0), r"shape \(10, 2\) has no part"),
        ("group/x", (..., ...), r"shape \(10, 2\) has no part"),
        ("group/x", np.ones(9, bool), "a mask of axis 0 has 9 elements, but the axis 10"),
        ("group/x", np.ones((10, 3), bool), "axis 0 is selected by an integer, a slice"),
        ("group/x", [[1], [1, 2]], "axis 0 is selected by an integer, a slice"),
        ("group/x", True, "axis 0 is selected by an integer, a slice"),
        ("group/x", 1.0, "axis 0 is selected by an integer, a slice"),
        ("group/x", slice("a"), "is no slice of integers"),
        ("group", None, "'group' is a group, not a dataset"),
        ("nowhere", None, "nowhere"),
        ("null", None, "null dataspace"),
        ("references", None, "references"),
        ("reference", None, "references"),
    ],
)
def test_what_cannot_be_read_is_said(dataset: str, selection: Any, told: str, small: Path) -> None:
    with pytest.raises((h5s.ConfigError, h5s.UnsupportedError), match=told) as caught:
        h5s.read(small, dataset, selection)
    assert "small.h5" in str(caught.value)


def test_sources_must_be_one_file(small: Path) -> None:
    small.with_name("other.h5").write_bytes(small.read_bytes())
    with pytest.raises(h5s.ConfigError, match="reads one file, but 2 match"):
        h5s.read(small.parent / "*.h5", "group/x")
    with pytest.raises(h5s.ConfigError, match="takes the path or URL of a file"):
        h5s.read([small], "group/x")  # type: ignore[arg-type]
    with pytest.raises(h5s.ConfigError, match="threads must be a positive integer"):
        h5s.read(small, "group/x", threads=0)


def test_more_than_memory_holds_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "large.h5", "w") as file:
        file.create_dataset("x", (2**40, 2**10), "f4", chunks=(2**10, 2**10))
    with pytest.raises(h5s.ConfigError, match="more than this machine's"):
        h5s.read(tmp_path / "large.h5", "x")
    assert h5s.read(tmp_path / "large.h5", "x", np.s_[2**39, :3]).tolist() == [0, 0, 0]


def test_damage_is_said_and_no_thread_stays(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=np.arange(4000), chunks=(100,), compression="gzip")
        broken = x.id.get_chunk_info(20)
    flip_bytes(path, broken.byte_offset + broken.size // 2, 8)
    assert h5s.read(path, "x", slice(2000)).tolist() == list(range(2000))
    with pytest.raises(h5s.DecodeError, match=r"chunk of '/x' at \(2000,\)"):
        h5s.read(path, "x")
    assert [t.name for t in threading.enumerate() if t.name.startswith("h5stream-read")] == []


def test_a_layout_that_was_written_down_serves(tmp_path: Path, small: Path) -> None:
    h5s.index_files(small, tmp_path / "layout.npz", fields=["group/x"])
    found = h5s.read(small, "group/x", slice(2), layout=tmp_path / "layout.npz")
    assert found.tolist() == [[0, 1], [2, 3]]
