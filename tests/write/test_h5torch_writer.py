"""Files of `H5torchWriter`, beside files that h5torch itself wrote of the same data."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import h5py
import h5torch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import h5stream as h5s

RNG = np.random.default_rng(0)
MATRIX = RNG.integers(0, 3, (12, 5)).astype("f4")
LISTS = [RNG.integers(0, 99, n).astype("i4") for n in (3, 0, 1, 7, 2, 2, 0, 5, 1, 1, 4, 9)]
IMAGES = [RNG.random((2, n, 3)).astype("f4") for n in (3, 1, 1, 7, 2, 2, 4, 5, 1, 1, 4, 9)]
NAMES = np.array(["T", "B", "natural killer", "T"] * 3)

ALIGNED: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": (np.arange(24.0).reshape(12, 2), {}),
    "narrow": (np.arange(12), {"dtype_save": "uint8", "dtype_load": "int64"}),
    "flag": (np.arange(12) % 3 == 0, {}),
    "complex": (np.arange(12) * 1j, {}),
    "bytes": (NAMES.astype("S"), {}),
    "text": (NAMES, {"dtype_save": "bytes", "dtype_load": "str"}),
    "csr": (sparse.csr_matrix(MATRIX), {"mode": "csr"}),
    "pairs": (MATRIX, {"mode": "csr", "csr_load_sparse": True, "dtype_load": "float64"}),
    "lists": (LISTS, {"mode": "vlen", "dtype_load": "int64"}),
    "images": (IMAGES, {"mode": "separate", "dtype_load": "float64"}),
}
CENTRAL: dict[str, tuple[Any, dict[str, Any]]] = {
    "N-D": (RNG.random((12, 4, 3)).astype("f4"), {"dtype_load": "float64"}),
    "csr": (MATRIX, {"mode": "csr"}),
    "coo": (sparse.coo_matrix(MATRIX), {"mode": "coo"}),
    "coo of a cube": (
        (np.array([[0, 11, 3], [4, 0, 1], [2, 2, 0]]), np.array([1.5, 2.5, 3.5]), (12, 5, 3)),
        {"mode": "coo", "dtype_save": "float32"},
    ),
    "vlen": (LISTS, {"mode": "vlen"}),
    "separate": (IMAGES, {"mode": "separate"}),
}


def write_both(folder: Path, central: str, compression: Any = "auto") -> tuple[Path, Path]:
    """Register the same objects with h5torch and here."""
    data, options = CENTRAL[central]
    theirs, ours = folder / "theirs.h5", folder / "ours.h5"
    with h5torch.File(str(theirs), "w") as file:
        native = data
        if sparse.issparse(data) and options["mode"] == "coo":
            native = data.toarray()
        file.register(native, "central", **options)
        for name, (rows, more) in ALIGNED.items():
            file.register(rows, 0, name=name, **more)
        file.register(np.arange(7), "unstructured", name="more")
    with h5s.H5torchWriter(ours, compression=compression, chunk_bytes=64) as writer:
        writer.register(data, "central", **options)
        for name, (rows, more) in ALIGNED.items():
            writer.register(rows, 0, name=name, **more)
        writer.register(np.arange(7), "unstructured", name="more")
    return theirs, ours


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if hasattr(one, "dense"):
        one, other = one.dense(), other.dense()
    one, other = np.asarray(one), np.asarray(other)
    return one.dtype.kind == other.dtype.kind and np.array_equal(one, other)


@pytest.mark.parametrize("compression", ["auto", "gzip", "zstd", "lz4", None])
@pytest.mark.parametrize("central", CENTRAL)
def test_h5torch_reads_the_same_samples_as_from_its_own_file(
    tmp_path: Path, central: str, compression: Any
) -> None:
    sampling: Any = "coo" if central.startswith("coo") else 0
    datasets = [
        h5torch.Dataset(str(path), sampling) for path in write_both(tmp_path, central, compression)
    ]
    assert len(datasets[0]) == len(datasets[1]) > 2
    for number in range(len(datasets[0])):
        assert same(datasets[0][number], datasets[1][number])
    for dataset in datasets:
        dataset.close()


@pytest.mark.parametrize("central", CENTRAL)
def test_h5stream_reads_the_same_rows_of_both(tmp_path: Path, central: str) -> None:
    rows = [list(h5s.H5Stream(path, output="numpy")) for path in write_both(tmp_path, central)]
    assert len(rows[0]) == len(rows[1]) > 2
    assert same(rows[0][0]["0/lists"], rows[1][0]["0/lists"])
    assert all(itertools.starmap(same, zip(*rows, strict=True)))


def test_h5torch_goes_on_with_a_file_that_has_room(tmp_path: Path) -> None:
    path = tmp_path / "room.h5"
    with h5s.H5torchWriter(path) as writer:
        writer.register(MATRIX[:3], "central", mode="csr", length=12)
        writer.register(np.arange(3), 0, name="n", length=12)
        writer.register(LISTS[:3], 0, name="lists", mode="vlen", length=12)
        writer.register(IMAGES[:3], 0, name="images", mode="separate", length=12)
    with h5torch.File(str(path), "a") as file:
        file.append(MATRIX[3:], "central")
        file.append(np.arange(3, 12), "0/n")
        file.append(LISTS[3:], "0/lists")
        file.append(IMAGES[3:], "0/images")
    check_whole(path)


def test_this_writer_goes_on_with_a_file_of_h5torch(tmp_path: Path) -> None:
    path = tmp_path / "room.h5"
    with h5torch.File(str(path), "w") as file:
        file.register(MATRIX[:3], "central", mode="csr", length=12)
        file.register(np.arange(3), 0, name="n", length=12)
        file.register(LISTS[:3], 0, name="lists", mode="vlen", length=12)
        file.register(IMAGES[:3], 0, name="images", mode="separate", length=12)
    append_rest(path, 3)
    check_whole(path)


@given(cuts=st.lists(st.integers(0, 12), max_size=4))
@settings(deadline=None)
def test_rows_that_come_in_parts_are_all_there(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    path = tmp_path_factory.mktemp("parts") / "room.h5"
    bounds = [1, *sorted(max(1, cut) for cut in cuts)]
    with h5s.H5torchWriter(path, chunk_bytes=64) as writer:
        writer.register(MATRIX[:1], "central", mode="csr", length=12)
        writer.register(np.arange(1), 0, name="n", length=12)
        writer.register(LISTS[:1], 0, name="lists", mode="vlen", length=12)
        writer.register(IMAGES[:1], 0, name="images", mode="separate", length=12)
    for start, stop in itertools.pairwise([*bounds, 12]):
        append_rest(path, start, stop)
    check_whole(path)


def append_rest(path: Path, start: int, stop: int = 12) -> None:
    with h5s.H5torchWriter(path, mode="append") as writer:
        writer.append(MATRIX[start:stop], "central")
        writer.append(np.arange(start, stop), "0/n")
        writer.append(LISTS[start:stop], "0/lists")
        writer.append(IMAGES[start:stop], "0/images")


def check_whole(path: Path) -> None:
    dataset = h5torch.Dataset(str(path))
    assert len(dataset) == 12
    for number in range(12):
        sample = dataset[number]
        assert same(sample["central"], MATRIX[number])
        assert sample["0/n"] == number
        assert same(sample["0/lists"], LISTS[number])
        assert same(sample["0/images"], IMAGES[number])
    dataset.close()
    assert next(iter(h5s.H5Stream(path, ["0/n"], batch_size=12)))["0/n"].tolist() == list(range(12))


def test_a_file_that_is_partly_filled_ends_there(tmp_path: Path) -> None:
    path = tmp_path / "part.h5"
    with h5s.H5torchWriter(path) as writer:
        writer.register(MATRIX[:4], "central", mode="csr", length=12)
        writer.register(np.arange(12), 0, name="n")
    batch = next(iter(h5s.H5Stream(path, batch_size=12, output="numpy")))
    assert batch["0/n"].tolist() == [0, 1, 2, 3]
    with pytest.warns(UserWarning, match="not been completely filled"):
        h5torch.File(str(path)).close()


def test_rows_of_another_axis_are_sampled_along_it(tmp_path: Path) -> None:
    path = tmp_path / "axis.h5"
    with h5s.H5torchWriter(path) as writer:
        writer.register(MATRIX, "central")
        writer.register(["a", "b", "c", "d", "e"], 1, name="gene")
    dataset = h5torch.Dataset(str(path), sampling=1)
    assert [str(dataset[number]["1/gene"]) for number in range(5)] == list("abcde")
    assert same(dataset[2]["central"], MATRIX[:, 2])
    dataset.close()
    options = {"sampling": 1}
    stream = h5s.open_files(path, convention_options=options).list_chunks().read_chunks()
    batch = next(iter(stream.batch(5).collate()))
    assert batch["1/gene"] == list("abcde")
    assert same(batch["central"], MATRIX.T)


def test_large_arrays_are_compressed_and_small_ones_are_not(tmp_path: Path) -> None:
    path = tmp_path / "large.h5"
    with h5s.H5torchWriter(path, compression="gzip") as writer:
        writer.register(np.zeros((100, 5000), "f4"), "central")
        writer.register(
            [np.zeros((3, 500_000)), *[np.zeros((1, 2))] * 99], 0, name="s", mode="separate"
        )
    assert path.stat().st_size < 400_000
    with h5py.File(path) as file:
        assert file["central"].compression == "gzip"
        assert file["0/s/0"].compression == "gzip"
        assert file["0/s/0"].shape == (3, 500_000)
        assert file["0/s/1"].chunks is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], 0, {"name": "n"}), "has 2 rows, but axis 0 of the central object has 12"),
        ((range(12), 3, {"name": "n"}), "axis must be"),
        ((range(12), 0, {}), "None is no name of an object"),
        ((range(12), 0, {"name": "a/b"}), "'a/b' is no name of an object"),
        ((range(12), "central", {}), "'central' is there already"),
        ((range(12), 0, {"name": "n", "mode": "dense"}), "mode must be one of"),
        ((MATRIX, 0, {"name": "n", "mode": "coo"}), "coo has no rows to align"),
        ((range(12), 0, {"name": "n", "csr_load_sparse": True}), "is for mode='csr'"),
        (
            ([*range(11), 300], 0, {"name": "n", "dtype_save": "u1"}),
            "row 11: '0/n' has the value 300",
        ),
        (([0.5] * 12, 0, {"name": "n", "dtype_save": "i4"}), "has the value 0.5"),
        (([None] * 12, 0, {"name": "n"}), "cannot be stored as object"),
        ((["ä"] * 12, 0, {"name": "n"}), "files of h5torch hold ASCII"),
        (([[1], [1, 2]], 0, {"name": "n"}), "is no array"),
        ((["a"], 0, {"name": "n", "length": 12}), "write dtype_save='S20'"),
        (([[1.5]] * 12, 0, {"name": "n", "mode": "csr", "dtype_save": "i4"}), "the value 1.5"),
        (([[[1]]] * 12, 0, {"name": "n", "mode": "vlen"}), "row 0: '0/n' has shape"),
        (([1] * 12, 0, {"name": "n", "mode": "vlen"}), "rows of its column are lists"),
        ((range(12), 0, {"name": "n", "length": 5}), "more than length=5"),
        ((range(12), 0, {"name": "n", "dtype_load": "no"}), "'no' is no type of NumPy"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_and_nothing_of_it_is_written(
    tmp_path: Path, arguments: tuple[Any, Any, dict[str, Any]], message: str
) -> None:
    path = tmp_path / "file.h5"
    data, axis, options = arguments
    with h5s.H5torchWriter(path) as writer:
        writer.register(MATRIX, "central")
        with pytest.raises((h5s.ConfigError, h5s.WriteError), match=message):
            writer.register(list(data) if isinstance(data, range) else data, axis, **options)
    with h5py.File(path) as file:
        assert list(file) == ["central"]


def test_objects_come_after_the_central_one_and_elements_lie_inside_it(tmp_path: Path) -> None:
    with h5s.H5torchWriter(tmp_path / "file.h5") as writer:
        with pytest.raises(h5s.ConfigError, match="the central object comes first"):
            writer.register([1], 0, name="n")
        outside = (np.array([[0, 4]]), np.array([1.0, 2.0]), (4,))
        with pytest.raises(h5s.WriteError, match=r"lies at \(4,\), outside of \(4,\)"):
            writer.register(outside, "central", mode="coo")
        writer.register((outside[0], outside[1], (5,)), "central", mode="coo")
        with pytest.raises(h5s.ConfigError, match="has no rows to add to"):
            writer.append([1], "central")


def test_more_rows_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with h5s.H5torchWriter(path) as writer:
        writer.register([1, 2], "central", length=4)
        with pytest.raises(h5s.WriteError, match="room for 2 more rows of 4, and 3 came"):
            writer.append([3, 4, 5], "central")
        with pytest.raises(h5s.ConfigError, match="there is no object '0/x'"):
            writer.append([3], "0/x")
        with pytest.raises(h5s.WriteError, match=r"row 2: 'central' has the value 0\.5"):
            writer.append([0.5], "central")
        writer.append([3, 4], "central")
    assert h5s.read(path, "central").tolist() == [1, 2, 3, 4]


def test_a_file_without_a_central_object_does_not_appear(tmp_path: Path) -> None:
    path = tmp_path / "file.h5"
    with pytest.raises(h5s.WriteError, match="has no central object"), h5s.H5torchWriter(path):
        pass
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    with pytest.raises(h5s.LayoutError, match="is no file of h5torch"):
        h5s.H5torchWriter(path, mode="append")
