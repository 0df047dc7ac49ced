"""Slices, read from files, against a loop that cuts them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.fields import window_rows
from h5stream.opening import open_catalog
from h5stream.reader import Catalog, Stats
from tests.places import Place
from tests.windows import read_pieces

reads_files = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
lengths = st.lists(st.integers(0, 14), min_size=1, max_size=5)
options = st.fixed_dictionaries(
    {"length": st.integers(1, 4), "shift": st.integers(-3, 3), "step": st.integers(1, 3)}
)


def write(path: Path, sizes: Sequence[int]) -> tuple[Path, list[np.ndarray]]:
    """Write one long dataset, and where the rows of a ragged field lie in it."""
    offsets = np.cumsum([0, *sizes])
    values = np.arange(offsets[-1] * 2, dtype="i4").reshape(-1, 2) + 1
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=values, chunks=(5, 2), maxshape=(None, 2))
        file["offsets"] = offsets
        for number, (a, b) in enumerate(pairwise(offsets)):
            file[f"row_{number}"] = values[a:b]
    return path, [values[a:b] for a, b in pairwise(offsets)]


BASES: dict[str, Any] = {
    "one long sequence": "values",
    "ragged": h5s.Ragged("values", "offsets"),
    "grouped": h5s.Grouped("row_*"),
}


def sequences_of(base: str, rows: list[np.ndarray]) -> list[np.ndarray]:
    return [np.concatenate(rows)] if base == "one long sequence" else rows


def cut_one_by_one(
    sequences: list[np.ndarray], specs: list[dict[str, int]], stride: int
) -> list[list[np.ndarray]]:
    """Cut slices, each field beside the others, as long as none leaves the sequence."""
    found = []
    for sequence in sequences:
        start = max(0, *(-spec["shift"] for spec in specs))
        while True:
            places = [
                start + spec["shift"] + np.arange(spec["length"]) * spec["step"] for spec in specs
            ]
            if any(at[-1] >= len(sequence) for at in places):
                break
            found.append([sequence[at] for at in places])
            start += stride
    return found


def read_rows(catalog: Catalog, rows: Sequence[int], **more: Any) -> list[list[np.ndarray]]:
    columns = read_pieces(catalog, [(0, row, row + 1) for row in rows], **more)
    return [list(values) for values in zip(*map(np.asarray, columns.values()), strict=True)]


def assert_same(found: list[list[np.ndarray]], expected: list[list[np.ndarray]]) -> None:
    assert [list(map(np.ndarray.tolist, row)) for row in found] == [
        list(map(np.ndarray.tolist, row)) for row in expected
    ]


@reads_files
@pytest.mark.parametrize("base", BASES)
@given(sizes=lengths, specs=st.lists(options, min_size=1, max_size=3), data=st.data())
def test_slices_of_several_fields_are_cut_side_by_side(
    tmp_path: Path,
    place: Place,
    base: str,
    sizes: list[int],
    specs: list[dict[str, int]],
    data: st.DataObject,
) -> None:
    path, rows = write(tmp_path / "file.h5", sizes)
    stride = data.draw(st.integers(1, 4))
    expected = cut_one_by_one(sequences_of(base, rows), specs, stride)
    fields = {
        str(i): h5s.Slices(BASES[base], stride=stride, **spec) for i, spec in enumerate(specs)
    }
    if not expected:
        with pytest.raises(h5s.H5StreamError):
            open_catalog(place(path), fields)
        return
    catalog = open_catalog(place(path), fields)
    assert catalog.n_rows == len(expected)
    some = data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=9))
    assert_same(read_rows(catalog, some), [expected[row] for row in some])


def pad_one_by_one(
    sequence: np.ndarray, spec: h5s.Slices, length: int, start: int
) -> list[np.ndarray]:
    around = 40
    mode: Any = spec.padding
    padded = np.pad(sequence, ((around, around), (0, 0)), mode=mode)
    return [padded[around + start + np.arange(length) * spec.step]]


@reads_files
@pytest.mark.parametrize("padding", ["constant", "edge", "reflect"])
@pytest.mark.parametrize("base", BASES)
@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), spec=options, data=st.data())
def test_centred_slices_are_padded_as_numpy_does(
    tmp_path: Path,
    place: Place,
    base: str,
    padding: Any,
    sizes: list[int],
    spec: Any,
    data: st.DataObject,
) -> None:
    path, rows = write(tmp_path / "file.h5", sizes)
    stride = data.draw(st.integers(1, 4))
    asked = h5s.Slices(BASES[base], stride=stride, center=True, padding=padding, **spec)
    before = ((spec["length"] - 1) * spec["step"] + 1) // 2 - spec["shift"]
    expected = [
        pad_one_by_one(sequence, asked, spec["length"], start - before)
        for sequence in sequences_of(base, rows)
        for start in range(0, len(sequence), stride)
    ]
    catalog = open_catalog(place(path), {"x": asked})
    assert catalog.n_rows == len(expected)
    some = data.draw(st.lists(st.integers(0, len(expected) - 1), min_size=1, max_size=9))
    assert_same(read_rows(catalog, some), [expected[row] for row in some])


@reads_files
@given(data=st.data(), shift=st.integers(0, 2))
def test_slices_between_bounds_are_those_of_numpy(
    tmp_path: Path, place: Place, data: st.DataObject, shift: int
) -> None:
    path, (values,) = write(tmp_path / "file.h5", [30])
    pair = st.tuples(st.integers(0, 28), st.integers(0, 28)).map(sorted)
    pairs = data.draw(st.lists(pair, min_size=1, max_size=9))
    starts, stops = (list(bounds) for bounds in zip(*pairs, strict=True))
    asked = h5s.Slices("values", starts=starts, stops=stops, shift=shift)
    columns = read_pieces(open_catalog(place(path), {"x": asked}), [(0, 0, len(pairs))])
    for row, (start, stop) in zip(columns["x"], pairs, strict=True):
        assert row.tolist() == values[start + shift : stop + shift].tolist()


FIELDS = {"x": h5s.Slices("values", 6), "y": h5s.Slices("values", 6, shift=1)}


def test_an_input_and_its_shifted_target_come_from_one_read(tmp_path: Path) -> None:
    path, _rows = write(tmp_path / "file.h5", [100])
    stats = Stats()
    catalog = open_catalog(str(path), FIELDS)
    columns = read_pieces(catalog, [(0, 0, catalog.n_rows)], stats=stats)
    assert stats.fetched_bytes == 100 * 2 * 4
    assert (np.asarray(columns["x"])[:, 1:] == np.asarray(columns["y"])[:, :-1]).all()
    assert not np.shares_memory(np.asarray(columns["x"]), np.asarray(columns["y"]))


@pytest.mark.parametrize("rows", [range(94), [50, 3, 4, 49, 3], [0]], ids=str)
def test_a_chunk_that_serves_several_slices_is_decoded_once(
    tmp_path: Path, rows: Sequence[int]
) -> None:
    path, stats = tmp_path / "file.h5", Stats()
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.arange(100), chunks=(5,), compression="gzip")
    catalog = open_catalog(str(path), FIELDS)
    read_rows(catalog, rows, stats=stats)
    chunks = {element // 5 for row in rows for element in range(row, row + 7)}
    assert stats.decoded_bytes == len(chunks) * 5 * 8


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_streamed_window_of_slices_decodes_each_chunk_once(tmp_path: Path, shuffle: bool) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.arange(100), chunks=(5,), compression="gzip")
    stream = h5s.H5Stream(path, FIELDS, shuffle=shuffle, batch_size=10)
    for batch in stream:
        assert (batch["x"] + 1 == batch["y"]).all()
    assert stream.stats()["decoded_bytes"] == 100 * 8


def test_rows_that_stand_in_several_windows_are_decoded_once(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("values", data=np.arange(100), chunks=(5,), compression="gzip")
    rows = np.array(window_rows(100, 10, 3))
    stream = h5s.H5Stream(path, ["values"], subset=rows, batch_size=10, shuffle=True)
    found = np.concatenate([batch["values"] for batch in stream])
    assert sorted(found.tolist()) == sorted(rows.tolist())
    assert stream.stats()["decoded_bytes"] == 100 * 8


def test_slices_of_several_files_share_their_reads(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, [50])[0] for name in ("a.h5", "b.h5")]
    stats = Stats()
    catalog = open_catalog(list(map(str, paths)), FIELDS)
    columns = read_pieces(catalog, [(1, 3, 40), (0, 0, 44)], stats=stats)
    assert stats.fetched_bytes == (43 + 50) * 2 * 4
    assert np.asarray(columns["y"])[0, 0].tolist() == [9, 10]


def test_fields_of_other_elements_are_read_by_themselves(tmp_path: Path) -> None:
    path, _rows = write(tmp_path / "file.h5", [20])
    fields = {**FIELDS, "f": h5s.Slices(h5s.Dense("values", dtype="f4"), 6)}
    columns = read_pieces(open_catalog(str(path), fields), [(0, 0, 14)])
    assert np.asarray(columns["f"]).dtype == np.float32
    assert np.asarray(columns["f"]).tolist() == np.asarray(columns["x"]).tolist()


LABELS = [
    pytest.param([4, 2], id="as many slices as sequences"),
    pytest.param([9, 2, 5], id="more"),
    pytest.param([3, 3], id="one each"),
]


@pytest.mark.parametrize("sizes", LABELS)
def test_slices_have_the_row_of_their_sequence(tmp_path: Path, sizes: list[int]) -> None:
    path, rows = write(tmp_path / "file.h5", sizes)
    with h5py.File(path, "a") as file:
        file["label"] = [10 * i for i in range(len(sizes))]
    fields = {"x": h5s.Slices(h5s.Ragged("values", "offsets"), 3), "label": "label"}
    found = [sample["label"] for sample in h5s.H5Stream(path, fields, output="numpy")]
    assert found == [10 * i for i, row in enumerate(rows) for _ in range(len(row) - 2)]


def test_slices_of_sequences_that_differ_are_refused(tmp_path: Path) -> None:
    path, _rows = write(tmp_path / "file.h5", [4, 2])
    with h5py.File(path, "a") as file:
        file["others"] = [0, 2, 6]
    fields = {name: h5s.Slices(h5s.Ragged("values", name), 3) for name in ("offsets", "others")}
    with pytest.raises(h5s.ConfigError, match="unequal numbers of rows: 2 and 2 slices"):
        open_catalog(str(path), fields)


def test_rows_of_windows_are_not_shuffled_apart(tmp_path: Path) -> None:
    path, _rows = write(tmp_path / "file.h5", [20])
    with pytest.raises(h5s.ConfigError, match="shuffle=True would take them apart"):
        h5s.H5Stream(path, ["values"], subset=window_rows(20, 4), batch_size=4, shuffle=True)
    in_order = h5s.H5Stream(path, ["values"], subset=window_rows(20, 4), batch_size=4)
    assert len(in_order) == 17
