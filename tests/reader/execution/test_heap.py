"""Elements of variable length, from files that were written in odd ways, or damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.columns import Ragged
from h5stream.fields import VlenField
from h5stream.opening import open_catalog
from h5stream.reader import Stats
from tests.places import Place
from tests.windows import read_pieces

INTS = h5py.vlen_dtype("i4")
N = 300


def rows_of(n: int = N, seed: int = 0, most: int = 40) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 99, rng.integers(0, most)).astype("i4") for _ in range(n)]


def fill(dataset: h5py.Dataset, rows: list[np.ndarray]) -> None:
    for number, row in enumerate(rows):
        dataset[number] = row


def interleaved(file: h5py.File) -> None:
    x, y = (file.create_dataset(name, (N,), INTS) for name in "xy")
    for number, (row, other) in enumerate(zip(rows_of(), rows_of(seed=1), strict=True)):
        x[number], y[number] = row, other


def interleaved_with_text(file: h5py.File) -> None:
    x = file.create_dataset("x", (N,), INTS)
    y = file.create_dataset("y", (N,), h5py.string_dtype())
    for number, row in enumerate(rows_of()):
        x[number], y[number] = row, "é" * len(row)


def overwritten(file: h5py.File) -> None:
    x = file.create_dataset("x", (N,), INTS)
    fill(x, rows_of())
    for number, row in enumerate(rows_of(seed=2)):
        if number % 3:
            x[N - 1 - number] = row


def overwritten_often(file: h5py.File) -> None:
    x = file.create_dataset("x", (8,), INTS)
    for turn in range(120):
        fill(x, rows_of(8, seed=turn, most=9))


def backwards(file: h5py.File) -> None:
    x = file.create_dataset("x", (N,), INTS)
    for number, row in reversed(list(enumerate(rows_of()))):
        x[number] = row


def large(file: h5py.File) -> None:
    x = file.create_dataset("x", (9,), INTS)
    fill(x, [np.arange(n, dtype="i4") for n in (3, 5000, 0, 1, 70_000, 1020, 1019, 2, 300_000)])


def empty(file: h5py.File) -> None:
    file.create_dataset("x", (5,), INTS)
    file.create_dataset("y", data=["", "", ""], dtype=h5py.string_dtype())


def half_written(file: h5py.File) -> None:
    x = file.create_dataset("x", (50,), INTS, chunks=(7,), maxshape=(None,))
    x[20:23] = np.array([np.arange(n, dtype="i4") for n in (4, 5, 6)], object)


def strings(file: h5py.File) -> None:
    texts = ["wörd" * (i % 50) for i in range(N)]
    file.create_dataset("x", data=texts, dtype=h5py.string_dtype(), chunks=(31,))
    file.create_dataset("y", data=texts[::-1], dtype=h5py.string_dtype(), compression="gzip")


def small_elements(file: h5py.File) -> None:
    x = file.create_dataset("x", (N,), h5py.vlen_dtype("u1"))
    fill(x, [row.astype("u1") for row in rows_of()])


def two_sessions(file: h5py.File) -> None:
    fill(file.create_dataset("x", (N,), INTS), rows_of()[: N // 2])
    file.flush()
    file["between"] = np.arange(999)
    x = file["x"]
    for number, row in enumerate(rows_of()[N // 2 :]):
        x[N // 2 + number] = row


WRITERS = [
    interleaved,
    interleaved_with_text,
    overwritten,
    overwritten_often,
    backwards,
    large,
    empty,
    half_written,
    strings,
    small_elements,
    two_sessions,
]
OPENINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "latest": {"libver": "latest"},
    "user block": {"userblock_size": 512},
}


def assert_equal_to_h5py(path: Path, name: str) -> None:
    catalog = open_catalog(str(path), {"x": name})
    assert isinstance(catalog.files[0].fields["x"], VlenField), "the heap is read directly"
    found = read_pieces(catalog, [(0, 0, catalog.n_rows)])["x"]
    with h5py.File(path) as file:
        expected = [as_array(row) for row in file[name][()]]
    assert_rows(found, expected)
    some = np.random.default_rng(0).permutation(len(expected))
    ranges = [(0, row, row + 1) for row in some.tolist()]
    assert_rows(read_pieces(catalog, ranges)["x"], [expected[row] for row in some])


def as_array(row: Any) -> np.ndarray:
    return np.frombuffer(row, "u1") if isinstance(row, bytes) else row


def assert_rows(found: Any, expected: list[np.ndarray]) -> None:
    assert isinstance(found, Ragged)
    assert found.lengths.tolist() == list(map(len, expected))
    assert found.values.tobytes() == np.concatenate(expected).tobytes()


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_heaps_are_read_as_h5py_does(
    tmp_path: Path, write: Callable[[h5py.File], None], opening: str
) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w", **OPENINGS[opening]) as file:
        write(file)
        names = [name for name in "xy" if name in file]
    for name in names:
        assert_equal_to_h5py(path, name)


def test_rows_of_compound_elements_are_read_as_h5py_does(tmp_path: Path) -> None:
    path, dtype = tmp_path / "file.h5", np.dtype([("a", "i2"), ("b", "f8")])
    rows = [np.array([(i, i / 2)] * (i % 4), dtype) for i in range(20)]
    with h5py.File(path, "w") as file:
        fill(file.create_dataset("x", (20,), h5py.vlen_dtype(dtype)), rows)
    found = h5s.H5Stream(path, ["x"], output="numpy")
    for row, expected in zip(found, rows, strict=True):
        assert row["x"].tolist() == expected.tolist()


def test_files_that_are_read_directly_and_through_h5py_are_joined(tmp_path: Path) -> None:
    kind = h5py.string_dtype()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", data=["a", "", "ccc"], dtype=kind)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        layout = h5py.VirtualLayout((3,), kind)
        layout[:] = h5py.VirtualSource(tmp_path / "a.h5", "x", (3,))
        file.create_virtual_dataset("x", layout)
    for names in (["a.h5", "b.h5"], ["b.h5", "a.h5"]):
        stream = h5s.H5Stream([tmp_path / name for name in names], ["x"], shuffle=True)
        assert sorted(sample["x"] for sample in stream) == ["", "", "a", "a", "ccc", "ccc"]


def test_no_rows_that_only_hdf5_can_read_are_no_rows(tmp_path: Path) -> None:
    kind = h5py.string_dtype()
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file.create_virtual_dataset("x", h5py.VirtualLayout((0,), kind))
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file.create_dataset("x", data=["a"], dtype=kind)
    for names in (["none.h5", "one.h5"], ["one.h5", "none.h5"]):
        stream = h5s.H5Stream([tmp_path / name for name in names], ["x"])
        assert [sample["x"] for sample in stream] == ["a"]


def test_objects_with_high_numbers_in_many_collections_take_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        fill(file.create_dataset("x", (N,), INTS), [np.arange(900, dtype="i4")] * N)
        offset = file["x"].id.get_offset()
    with path.open("r+b") as raw:
        raw.seek(offset + 150 * 16 + 12)
        raw.write(struct.pack("<I", 65_535))
    catalog = open_catalog(str(path), {"x": "x"})
    with pytest.raises(h5s.DecodeError, match=r"row 150 .* object 65535 of its heap is missing"):
        read_pieces(catalog, [(0, 0, N)])


def test_each_collection_is_fetched_once(tmp_path: Path) -> None:
    path, stats = tmp_path / "file.h5", Stats()
    with h5py.File(path, "w") as file:
        fill(file.create_dataset("x", (N,), INTS), rows_of())
    catalog = open_catalog(str(path), {"x": "x"})
    read_pieces(catalog, [(0, row, row + 1) for row in reversed(range(N))], stats=stats)
    assert stats.decoded_bytes == sum(row.nbytes for row in rows_of())
    assert stats.fetched_bytes < path.stat().st_size


def small_file(path: Path) -> list[tuple[int, int]]:
    """Write a file; return where its descriptors and its heap begin and end."""
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (12,), INTS)
        fill(dataset, rows_of(12, most=30))
        descriptors = dataset.id.get_offset()
    heap = path.read_bytes().index(b"GCOL")
    return [(descriptors, descriptors + 12 * 16), (heap, heap + 1024)]


def outcome_of(path: str) -> list[Any]:
    """Read everything in order, and single rows; errors of ours are an outcome too."""
    try:
        rows = list(h5s.H5Stream(path, ["x"], batch_size=5, output="numpy"))
        return [*rows, h5s.Dataset(path, ["x"])[7]]
    except h5s.H5StreamError as error:
        return [error]


def test_hdf5_is_not_sent_behind_free_space_that_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    _begin, heap = (begin for begin, _end in small_file(path))
    expected = h5s.Dataset(path, ["x"], collate=dict).batch(range(12))["x"]
    content = path.read_bytes()
    at = heap + 16
    while index := struct.unpack_from("<H", content, at)[0]:
        assert index <= 12
        at += 16 + -(-struct.unpack_from("<Q", content, at + 8)[0] // 8) * 8
    with path.open("r+b") as raw:  # HDF5 walks on there, and never moves over zeros
        raw.seek(at + 8)
        raw.write(struct.pack("<Q", 16) + bytes(16))
    found = h5s.Dataset(path, ["x"], collate=dict).batch(range(12))["x"]
    assert list(map(np.ndarray.tolist, found)) == list(map(np.ndarray.tolist, expected))


mutations = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from([0, 1, 2, 4, 127, 128, 255])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150)
@pytest.mark.parametrize("part", [0, 1], ids=["descriptors", "heap"])
@given(changes=mutations)
def test_damaged_bytes_give_rows_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory,
    place: Place,
    part: int,
    changes: list[tuple[float, int]],
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "file.h5"
    begin, end = small_file(path)[part]
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[begin + int(at * (end - begin))] = value
    path.write_bytes(content)
    assert outcome_of(place(path))


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ([b"a", b"", b"caf\xe9", b"b"], 2),
        ([b"\xff", b"caf\xc3\xa9"], 0),
        ([b"caf\xc3", b"", b"\xa9"], 2),
        ([b"caf\xc3\xa9", b"", b"\xe2\x82"], 2),
    ],
)
def test_text_that_is_not_utf8_is_named_by_file_dataset_and_row(
    tmp_path: Path, values: list[bytes], row: int
) -> None:
    paths = [tmp_path / "a.h5", tmp_path / "b.h5"]
    for path, some in zip(paths, [[b"sound", b"\xc3\xa9"], values], strict=True):
        with h5py.File(path, "w") as file:
            file.create_dataset("x", data=some, dtype=h5py.string_dtype())
    stream = h5s.H5Stream(paths, ["x"], batch_size=2, shuffle=True)
    with pytest.raises(h5s.DecodeError, match=rf"b\.h5: row {row} of '/x' .* not UTF-8"):
        list(stream)
    lenient = h5s.H5Stream(paths, {"x": h5s.Vlen("x", errors="replace")}, batch_size=9)
    (batch,) = lenient
    assert batch["x"] == ["sound", "é", *(value.decode(errors="replace") for value in values)]
