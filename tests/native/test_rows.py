"""Both executors bring what h5py reads, in order and shuffled, and tell damage alike."""

from __future__ import annotations

import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from h5py import h5d
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.errors import DecodeError, FetchError
from h5stream.native import NativeRows, choose_executor
from h5stream.native.choice import VARIABLE
from h5stream.opening import open_catalog
from tests.h5files import (
    BFLOAT16,
    DIRECT_PIPELINES,
    DTYPES,
    SZIP,
    Recipe,
    assert_same_bits,
    chunk_entries,
    flip_bytes,
    grid_of,
    random_elements,
    read_with_h5py,
    write,
)

EXECUTORS = ["python", "native"] if choose_executor().is_native else ["python"]
"""Without a C compiler there is one only; test_choice tells why."""

NO_SZIP = [name for name, filters in DIRECT_PIPELINES.items() if SZIP not in dict(filters)]


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Draw datasets whose chunks hold whole rows or split them, some missing, some masked."""
    shape = (draw(st.integers(1, 60)), *draw(st.lists(st.integers(1, 6), max_size=3)))
    chunks = tuple(draw(st.integers(1, n)) for n in shape)
    if draw(st.booleans()):
        chunks = (chunks[0], *shape[1:])
    filters = DIRECT_PIPELINES[draw(st.sampled_from(NO_SZIP))]
    dtype = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    plain = Recipe(dtype, shape, chunks, filters)
    numbers = range(len(grid_of(plain)))
    some = st.sampled_from(numbers)
    masks = draw(st.dictionaries(some, st.integers(0, 7), max_size=3))
    missing = draw(st.frozensets(some, max_size=3))
    fill = random_elements((), dtype.base, seed=5)
    fills = fill if dtype.names is None and not dtype.shape and dtype.kind in "iuf" else None
    return Recipe(dtype, shape, chunks, filters, None, fills, h5d.ALLOC_TIME_INCR, masks, missing)


def stream_rows(path: Path, seed: int | None, threads: int) -> np.ndarray:
    """Stream all rows; shuffled ones are put back in order by their numbers."""
    fields = {"x": "x", "row": "row"}
    stream = h5s.H5Stream(
        path,
        fields,
        batch_size=7,
        shuffle=seed is not None,
        seed=seed or 0,
        threads=threads,
        output="numpy",
    )
    batches = list(stream)
    rows = np.concatenate([batch["x"] for batch in batches])
    return rows[np.argsort(np.concatenate([batch["row"] for batch in batches]), kind="stable")]


@pytest.mark.parametrize("executor", EXECUTORS)
@given(recipe=recipes(), seed=st.none() | st.integers(0, 9))
def test_rows_are_those_of_h5py(executor: str, recipe: Recipe, seed: int | None) -> None:
    data = random_elements(recipe.shape, recipe.dtype, smooth=True)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, executor)
        path = Path(folder) / "x.h5"
        with h5py.File(path, "w") as file:
            write(file, "x", recipe, data)
            file["row"] = np.arange(recipe.shape[0])
        as_read = recipe.dtype if recipe.dtype == BFLOAT16 else None
        expected = read_with_h5py(path, "x", as_read)
        assert_same_bits(stream_rows(path, seed, 1), expected)


@pytest.mark.parametrize("convert", ["f8", ">f4"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_converted_rows_are_those_of_h5py(
    executor: str, convert: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, executor)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        stored = file.create_dataset("x", (50, 6), ">f4", chunks=(3, 4), compression="gzip")
        stored[...] = random_elements((50, 6), np.dtype("f4"), smooth=True)
    field = h5s.Dense("x", dtype=np.dtype(convert).newbyteorder("="))
    batches = h5s.H5Stream(path, {"x": field}, batch_size=8, shuffle=False, output="numpy")
    found = np.concatenate([batch["x"] for batch in batches])
    assert_same_bits(found, read_with_h5py(path, "x").astype(found.dtype))


def damaged(path: Path, name: str, at: int) -> None:
    """Write 64 rows in chunks of 4, and flip bytes of the ninth chunk."""
    recipe = Recipe(np.dtype("<i4"), (64, 80), (4, 80), DIRECT_PIPELINES[name])
    rows = random_elements(recipe.shape, recipe.dtype, smooth=True)
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, rows)
    entry = chunk_entries(path, "x")[8]
    flip_bytes(str(path), entry.byte_offset + at % entry.size, 3)


def outcome(path: Path) -> str | bytes:
    """Read rows; tell them, or the error."""
    try:
        return h5s.read(path, "x").tobytes()
    except (DecodeError, FetchError) as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", sorted(DIRECT_PIPELINES))
def test_damage_is_told_alike_by_both(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in (0, 5, 17, 60, 101):
        path = tmp_path / f"{at}.h5"
        damaged(path, name, at)
        told = []
        for executor in EXECUTORS:
            monkeypatch.setenv(VARIABLE, executor)
            told.append(outcome(path))
        assert set(told) == {told[0]}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_truncated_file_is_told(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, executor)
    path = tmp_path / "x.h5"
    damaged(path, "gzip", 0)
    catalog = open_catalog(str(path), {"x": "x"})
    assert catalog.n_rows == 64
    with path.open("r+b") as raw:
        raw.truncate(chunk_entries(path, "x")[4].byte_offset)
    with pytest.raises((FetchError, h5s.LayoutError)):
        list(h5s.H5Stream(path, ["x"], batch_size=8))


def test_filters_without_a_native_decoder_stay_with_python(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    recipe = Recipe(np.dtype("<i4"), (64, 80), (4, 80), DIRECT_PIPELINES["szip nn"])
    with h5py.File(path, "w") as file:
        write(file, "x", recipe, random_elements(recipe.shape, recipe.dtype, smooth=True))
    layout = open_catalog(str(path), {"x": "x"}).files[0].fields["x"].layouts[0]
    assert NativeRows.misfit(layout) is not None
