"""Parts of rows, against NumPy, and which chunks are read for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.fields.inner import Inner


def expected_of(data: np.ndarray, inner: Any) -> np.ndarray:
    """Index each axis by itself, from the last one on."""
    parts = [*(inner if isinstance(inner, tuple) else (inner,))]
    if Ellipsis in [part if part is Ellipsis else None for part in parts]:
        at = next(n for n, part in enumerate(parts) if part is Ellipsis)
        parts[at : at + 1] = [slice(None)] * (data.ndim - 1 - (len(parts) - 1))
    for axis, part in reversed(list(enumerate(parts, 1))):
        data = data[(slice(None),) * axis + (part,)]
    return data


def parts_of(size: int) -> st.SearchStrategy[Any]:
    numbers = st.integers(-size, size - 1)
    slices = st.tuples(st.integers(0, size - 1), st.integers(1, size), st.integers(1, 4)).map(
        lambda t: slice(min(t[0], t[1] - 1), max(t[0] + 1, t[1]), t[2])
    )
    return st.one_of(
        numbers, st.lists(numbers, min_size=1, max_size=5), slices, st.just(slice(None))
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_parts_of_rows_are_those_of_numpy(tmp_path: Path, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), min_size=2, max_size=4), "shape")
    values = np.arange(np.prod(shape)).reshape(shape)
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, size) for size in shape)), "chunks")
    axis = data.draw(st.integers(0, len(shape) - 1), "axis")
    moved = np.moveaxis(values, axis, 0)
    inner = tuple(data.draw(parts_of(size), "inner") for size in moved.shape[1:])
    inner = inner[: data.draw(st.integers(1, len(inner)), "how many")]
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        filters = {"compression": "gzip"} if data.draw(st.booleans(), "gzip") and chunks else {}
        dataset = file.create_dataset("x", shape, "i8", chunks=chunks, **filters, fillvalue=-5)
        if data.draw(st.booleans(), "written"):
            dataset[...] = values
        else:
            moved = np.full_like(moved, -5)
    fields = {"x": h5s.Dense("x", axis=axis, inner=inner)}
    expected = expected_of(moved, inner)
    for options in ({}, {"shuffle": True, "buffer_size": 2}):
        stream = h5s.H5Stream(path, fields, batch_size=3, output="numpy", **options)
        found = np.concatenate([batch["x"] for batch in stream])
        assert found.shape == expected.shape
        if not options:
            assert np.array_equal(found, expected)
        assert sorted(row.tobytes() for row in found) == sorted(row.tobytes() for row in expected)
    dataset = h5s.Dataset(path, fields, collate=dict)
    assert np.array_equal(dataset.batch([len(dataset) - 1, 0])["x"], expected[[-1, 0]])


@given(data=st.data())
def test_parts_of_pieces_make_up_the_part_of_the_row(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=3))
    axes = []
    for size in shape:
        part = data.draw(parts_of(size))
        positions = np.arange(size)[part]
        is_slice = isinstance(part, slice)
        axes.append(range(*part.indices(size)) if is_slice else positions.tolist())
    inner = Inner(tuple(tuple(a) if isinstance(a, list) else a for a in axes))
    rows = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    expected, _where = inner.choose(rows)
    at = [data.draw(st.integers(1, size)) for size in shape]
    if any(isinstance(axis, int) for axis in inner.axes):
        at = list(shape)  # a piece without the one position of an axis is never read
    found = np.full_like(expected, -1)
    for corner in np.ndindex(*(2,) * len(shape)):
        inside = tuple(
            slice(0, cut) if low == 0 else slice(cut, size)
            for low, cut, size in zip(corner, at, shape, strict=True)
        )
        if all(part.stop > part.start for part in inside):
            values, where = inner.choose(rows[(slice(None), *inside)], inside)
            found[(slice(None), *where)] = values
    assert np.array_equal(found, expected)


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """Ten states of 20 channels, in chunks of one channel, and contiguous."""
    path = tmp_path / "f.h5"
    data = np.random.default_rng(0).random((10, 20, 32, 64)).astype("f4")
    with h5py.File(path, "w") as file:
        file.create_dataset("chunks", data=data, chunks=(1, 1, 32, 32), compression="gzip")
        file["flat"] = data
        file.create_dataset("odd", data=data.astype("f2"), chunks=(3, 7, 32, 50))
    return path


@pytest.mark.parametrize(
    ("name", "inner", "share"),
    [
        pytest.param("chunks", [3, 17], 2 / 20, id="channels"),
        pytest.param("chunks", np.s_[::10, :, 40:], 2 / 40, id="channels and a crop"),
        pytest.param("flat", np.s_[5:7], 2 / 20, id="contiguous"),
    ],
)
def test_chunks_without_a_part_are_not_read(
    fields: Path, name: str, inner: Any, share: float
) -> None:
    stream = h5s.H5Stream(fields, {"x": h5s.Dense(name, inner=inner)}, batch_size=4)
    found = np.concatenate([batch["x"] for batch in stream])
    with h5py.File(fields) as file:
        assert np.array_equal(found, expected_of(file[name][()], inner))
        stored = file[name].id.get_storage_size()
    assert stream.stats()["fetched_bytes"] <= 1.1 * share * stored
    assert stream.stats()["decoded_bytes"] in (0, pytest.approx(10 * 20 * 32 * 64 * 4 * share))


def test_slices_of_different_parts_of_one_dataset_stay_apart(fields: Path) -> None:
    asked = {
        "u": h5s.Slices(h5s.Dense("odd", inner=0), 2),
        "v": h5s.Slices(h5s.Dense("odd", inner=1), 2),
        "next": h5s.Slices(h5s.Dense("odd", inner=1), 2, shift=1),
    }
    with h5py.File(fields) as file:
        data = file["odd"][()]
    for number, row in enumerate(h5s.H5Stream(fields, asked, output="numpy")):
        assert np.array_equal(row["u"], data[number : number + 2, 0])
        assert np.array_equal(row["v"], data[number : number + 2, 1])
        assert np.array_equal(row["next"], data[number + 1 : number + 3, 1])


def test_virtual_datasets_are_cropped_by_hdf5(fields: Path) -> None:
    with h5py.File(fields, "a") as file:
        layout = h5py.VirtualLayout((10, 20, 32, 64), "f4")
        layout[...] = h5py.VirtualSource(file["chunks"])
        file.create_virtual_dataset("virtual", layout)
        expected = file["chunks"][:, [1, 19], 3:9]
    asked = {"x": h5s.Dense("virtual", inner=np.s_[[1, 19], 3:9])}
    stream = h5s.H5Stream(fields, asked, batch_size=3, output="numpy")
    assert np.array_equal(np.concatenate([batch["x"] for batch in stream]), expected)


def test_members_of_a_part(tmp_path: Path) -> None:
    path = tmp_path / "c.h5"
    data = np.zeros((6, 4, 5), [("a", "f4"), ("b", "i4", (2,))])
    data["b"] = np.arange(240).reshape(6, 4, 5, 2)
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=data, chunks=(2, 3, 2), compression="gzip")
    asked = {"x": h5s.Dense("x[b]", inner=np.s_[1, ::2])}
    stream = h5s.H5Stream(path, asked, batch_size=6, output="numpy")
    assert np.array_equal(next(iter(stream))["x"], data["b"][:, 1, ::2])


@pytest.mark.parametrize(
    ("inner", "said"),
    [
        (np.s_[0, 0, 0, 0], "have no part inner="),
        (np.s_[..., ...], "have no part inner="),
        (20, "goes beyond an axis of 20"),
        ([0, -21], "goes beyond an axis of 20"),
        (np.s_[5:5], "chooses nothing"),
        ([], "a slice or a list of integers"),
        ("a", "a slice or a list of integers"),
        (np.s_["a":], "no slice of integers"),
    ],
)
def test_parts_that_rows_do_not_have_are_refused(fields: Path, inner: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(fields, {"x": h5s.Dense("chunks", inner=inner)}))


def test_what_is_flattened_has_no_part(fields: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="what is flattened"):
        len(h5s.H5Stream(fields, {"x": h5s.Whole("flat", flat=True, inner=0)}))


def test_datasets_of_groups_may_differ_in_what_is_left_out(tmp_path: Path) -> None:
    widths = [5, 7, 4, 5]
    data = [np.arange(3 * width).reshape(3, width) + 100 * n for n, width in enumerate(widths)]
    with h5py.File(tmp_path / "g.h5", "w") as file:
        for number, values in enumerate(data):
            file[f"run_{number}/x"] = values
    fields = {"x": h5s.Grouped("run_*/x", inner=[2, -1])}
    rows = list(h5s.H5Stream(tmp_path / "g.h5", fields, output="numpy"))
    for row, values in zip(rows, data, strict=True):
        assert np.array_equal(row["x"], values[:, [2, -1]])
