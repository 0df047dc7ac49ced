"""Whatever a file holds and however it is stored: every bit is what h5py reads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.opening import open_catalog
from tests.h5files import (
    BFLOAT16,
    DIRECT_PIPELINES,
    DTYPES,
    NUMBERS_ONLY,
    PIPELINES,
    SCALEOFFSET,
    SZIP,
    SZIP_LEAST_ELEMENTS,
    Recipe,
    assert_same_bits,
    grid_of,
    random_elements,
    read_with_h5py,
    write,
)
from tests.places import PLACES, placed
from tests.windows import read_pieces

ANY = list(DTYPES.values())
NUMBERS = [d for d in ANY if d.kind in "iuf" and not d.shape and not h5py.check_enum_dtype(d)]
SCALABLE = [d for d in NUMBERS if d.itemsize > 2 or d.kind != "f"]


def element_types(pipeline: str) -> list[np.dtype[Any]]:
    ids = {number for number, _values in PIPELINES[pipeline]}
    if SCALEOFFSET in ids:
        return SCALABLE
    return NUMBERS if ids & NUMBERS_ONLY else ANY


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, ...]:
    n_rows = draw(st.sampled_from([1, 2, 3]) | st.integers(4, 40))
    return (n_rows, *draw(st.lists(st.integers(0, 5), max_size=3)))


@st.composite
def chunked_recipes(draw: st.DrawFn, pipeline: str) -> Recipe:
    """Draw how to write a chunked dataset."""
    dtype = draw(st.sampled_from(element_types(pipeline)))
    shape = draw(shapes())
    chunks = [draw(st.integers(1, n + 3)) for n in shape]
    if any(number == SZIP for number, _ in PIPELINES[pipeline]):
        chunks[0] = max(chunks[0], SZIP_LEAST_ELEMENTS)
    maxshape = tuple(
        max(n, c) if n and draw(st.booleans()) else None for n, c in zip(shape, chunks, strict=True)
    )
    recipe = Recipe(dtype, shape, tuple(chunks), PIPELINES[pipeline], maxshape)
    numbers = st.integers(0, max(0, len(grid_of(recipe)) - 1))
    # HDF5 forgets the mask of a chunk that was there before and keeps its size.
    early = pipeline not in ("gzip gzip", "lzf gzip") and draw(st.booleans())
    return replace(
        recipe,
        fill=draw(fills(dtype)),
        missing=draw(st.frozensets(numbers, max_size=4)),
        alloc_time=h5d.ALLOC_TIME_EARLY if early else None,
        masks={} if early else draw(st.dictionaries(numbers, st.integers(1, 7), max_size=4)),
    )


@st.composite
def contiguous_recipes(draw: st.DrawFn) -> Recipe:
    dtype = draw(st.sampled_from(ANY))
    missing = draw(st.sampled_from([frozenset(), frozenset({0})]))
    return Recipe(dtype, draw(shapes()), fill=draw(fills(dtype)), missing=missing)


@st.composite
def fills(draw: st.DrawFn, dtype: np.dtype[Any]) -> np.ndarray | None:
    """Draw a fill value; HDF5 cannot have one of an array type through h5py."""
    if dtype.shape or draw(st.booleans()):
        return None
    return random_elements((), dtype, seed=draw(st.integers(0, 9)))


FILE_KINDS = st.fixed_dictionaries(
    {
        "libver": st.sampled_from(["earliest", "latest"]),
        "track_order": st.booleans(),
        "userblock_size": st.sampled_from([0, 512, 2048]),
    }
)

CONTENTS = st.fixed_dictionaries({"seed": st.integers(0, 99), "smooth": st.booleans()})


@contextmanager
def written(recipe: Recipe, contents: dict[str, Any], kind: dict[str, Any]) -> Iterator[str]:
    """Write a file that has a neighbour before and after the dataset `x`."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "written.h5")
        with h5py.File(path, "w", **kind) as file:
            file["before"] = np.arange(5)
            write(file, "x", recipe, random_elements(recipe.shape, recipe.dtype, **contents))
            file["after"] = np.arange(7)
        yield path


everywhere = pytest.mark.parametrize("where", PLACES)


def expected_rows(path: str, recipe: Recipe) -> np.ndarray:
    return read_with_h5py(path, "x", BFLOAT16 if recipe.dtype == BFLOAT16 else None)


def streamed_rows(pipe: h5s.Pipe, batch_size: int, empty: np.ndarray) -> np.ndarray:
    return np.concatenate([empty, *(block["x"] for block in pipe.batch(batch_size))])


def check_stream(path: str, where: str, recipe: Recipe, target_bytes: int, batch_size: int) -> bool:
    """Hold an unshuffled stream to h5py; tell whether it read directly."""
    expected = expected_rows(path, recipe)
    with placed(path, where) as place:
        pipe = h5s.open_files(place, ["x"]).list_chunks(target_bytes).read_chunks()
        assert_same_bits(streamed_rows(pipe, batch_size, expected[:0]), expected)
    return pipe.catalog.routes[place, "/x"].direct


TARGETS = st.sampled_from([1, 64, 1000, 2**20])


@everywhere
@pytest.mark.parametrize("pipeline", PIPELINES)
@given(data=st.data(), contents=CONTENTS, kind=FILE_KINDS, target=TARGETS)
def test_a_stream_of_chunks_is_what_h5py_reads(
    pipeline: str, where: str, data: st.DataObject, contents: dict, kind: dict, target: int
) -> None:
    recipe = data.draw(chunked_recipes(pipeline))
    with written(recipe, contents, kind) as path:
        direct = check_stream(path, where, recipe, target, data.draw(st.integers(1, 50)))
    assert direct == (pipeline in DIRECT_PIPELINES)


@everywhere
@given(
    recipe=contiguous_recipes(),
    contents=CONTENTS,
    kind=FILE_KINDS,
    target=TARGETS,
    batch_size=st.integers(1, 50),
)
def test_a_stream_of_contiguous_rows_is_what_h5py_reads(
    where: str, recipe: Recipe, contents: dict, kind: dict, target: int, batch_size: int
) -> None:
    with written(recipe, contents, kind) as path:
        assert check_stream(path, where, recipe, target, batch_size)


@st.composite
def row_ranges(draw: st.DrawFn, n_rows: int) -> list[tuple[int, int]]:
    """Draw ranges in any order, some of which overlap or cut chunks."""
    places = st.integers(0, n_rows - 1)
    pairs = draw(st.lists(st.tuples(places, st.integers(1, 12)), min_size=1, max_size=12))
    return [(start, min(n_rows, start + count)) for start, count in pairs]


@st.composite
def places_of(draw: st.DrawFn, ranges: list[tuple[int, int]]) -> np.ndarray | None:
    """Draw where in a window the rows of ranges go: in order, or permuted."""
    n_rows = sum(stop - start for start, stop in ranges)
    seed = draw(st.none() | st.integers(0, 99))
    return None if seed is None else np.random.default_rng(seed).permutation(n_rows)


READER_PIPELINES = ["none", "shuffle gzip", "shuffle lzf fletcher32", "nbit", "bitshuffle lz4"]


def check_window(
    where: str, recipe: Recipe, data: st.DataObject, contents: dict, kind: dict
) -> None:
    """Compare a window of any pieces, in order or placed, with what h5py reads."""
    ranges = data.draw(row_ranges(recipe.shape[0]))
    with written(recipe, contents, kind) as path:
        rows = expected_rows(path, recipe)
        pieces = [(0, a, b) for a, b in ranges]
        places = data.draw(places_of(ranges))
        with placed(path, where) as place:
            found = read_pieces(open_catalog(place, {"x": "x"}), pieces, places=places)["x"]
    expected = np.concatenate([rows[a:b] for a, b in ranges])
    assert_same_bits(found if places is None else found[places], expected)


@everywhere
@pytest.mark.parametrize("pipeline", READER_PIPELINES)
@given(data=st.data(), contents=CONTENTS, kind=FILE_KINDS)
def test_a_window_of_any_pieces_is_what_h5py_reads(
    pipeline: str, where: str, data: st.DataObject, contents: dict, kind: dict
) -> None:
    recipe = data.draw(chunked_recipes(pipeline).filter(lambda recipe: recipe.shape[0]))
    check_window(where, recipe, data, contents, kind)


@everywhere
@given(recipe=contiguous_recipes().filter(lambda r: r.shape[0]), data=st.data(), contents=CONTENTS)
def test_a_window_of_contiguous_pieces_is_what_h5py_reads(
    where: str, recipe: Recipe, data: st.DataObject, contents: dict
) -> None:
    check_window(where, recipe, data, contents, {})


@everywhere
@given(data=st.data(), seed=st.integers(0, 99))
def test_a_window_over_files_and_fields_is_what_h5py_reads(
    where: str, data: st.DataObject, seed: int
) -> None:
    lengths = data.draw(st.lists(st.integers(1, 30), min_size=2, max_size=3))
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{n}.h5") for n in range(len(lengths))]
        rows = [
            _write_two_fields(p, n, seed + i)
            for i, (p, n) in enumerate(zip(paths, lengths, strict=True))
        ]
        numbers = data.draw(st.lists(st.integers(0, len(paths) - 1), min_size=1, max_size=5))
        ranges = [(n, *span) for n in numbers for span in data.draw(row_ranges(lengths[n]))]
        places = data.draw(places_of([(a, b) for _n, a, b in ranges]))
        with ExitStack() as stack:
            opened = [stack.enter_context(placed(path, where)) for path in paths]
            catalog = open_catalog(opened, {"x": "x", "wide": "wide", "a": "t[a]", "b": "t[b]"})
            found = read_pieces(catalog, ranges, places=places)
    for name, column in found.items():
        expected = np.concatenate([rows[n][name][a:b] for n, a, b in ranges])
        assert_same_bits(column if places is None else column[places], expected)


def _write_two_fields(path: str, n_rows: int, seed: int) -> dict[str, np.ndarray]:
    """Write a heavy and two light datasets, one of them of a compound type."""
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 99, n_rows).astype(">i4")
    wide = generator.integers(0, 99, (n_rows, 20))
    table = np.zeros(n_rows, [("a", ">f8"), ("b", "i2", (3,))])
    table["a"], table["b"] = generator.normal(size=n_rows), generator.integers(0, 9, (n_rows, 3))
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=x, chunks=(3,), maxshape=(None,), compression="gzip")
        file.create_dataset("wide", data=wide, chunks=(4, 7), maxshape=(None, None), shuffle=True)
        file["t"] = table
    return {"x": x.astype("i4"), "wide": wide, "a": table["a"].astype("f8"), "b": table["b"]}
