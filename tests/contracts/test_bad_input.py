"""What is wrong in a file or in what is asked for is an error that says so."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s


def make(folder: Path, write: Callable[[h5py.File], None]) -> Path:
    path = folder / "file.h5"
    with h5py.File(path, "w") as file:
        write(file)
    return path


def read_all(path: Path, field: Any, **options: Any) -> list[Any]:
    return list(h5s.H5Stream(path, {"x": field}, batch_size=4, output="numpy", **options))


def ragged(offsets: list[int], name: str = "offsets") -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        file["values"], file[name] = np.arange(10), np.array(offsets)

    return write


@pytest.mark.parametrize(
    ("offsets", "said"),
    [
        pytest.param([0, 5, 3, 10], "decreases at row 1, from 5 to 3", id="decrease"),
        pytest.param([0, 5, 11], "goes from 0 to 11, but there are 10 values", id="overrun"),
        pytest.param([-1, 5, 10], "goes from -1 to 10", id="below zero"),
    ],
)
def test_offsets_that_do_not_fit_are_refused(tmp_path: Path, offsets: list[int], said: str) -> None:
    path = make(tmp_path, ragged(offsets))
    with pytest.raises(h5s.LayoutError, match=said):
        read_all(path, h5s.Ragged("values", "offsets"))


@pytest.mark.parametrize("lengths", [[3, -1], [9, 9], [2**62, 2**62, 2**62]])
def test_lengths_that_do_not_fit_are_refused(tmp_path: Path, lengths: list[int]) -> None:
    path = make(tmp_path, ragged(lengths, "lengths"))
    with pytest.raises(h5s.LayoutError):
        read_all(path, h5s.Ragged("values", lengths="lengths"))


def test_offsets_that_are_no_integers_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(values=np.arange(3), offsets=np.zeros(2)))
    with pytest.raises(h5s.ConfigError, match="should be a list of integers"):
        read_all(path, h5s.Ragged("values", "offsets"))


@pytest.mark.parametrize("given", [{}, {"offsets": "a", "lengths": "b"}])
def test_a_ragged_field_needs_offsets_or_lengths(tmp_path: Path, given: dict[str, str]) -> None:
    path = make(tmp_path, ragged([0, 10]))
    with pytest.raises(h5s.ConfigError, match="needs one of offsets, lengths and ends"):
        read_all(path, h5s.Ragged("values", **given))


def csr(indices: list[int], shape: Any = (2, 3)) -> Callable[[h5py.File], None]:
    def write(file: h5py.File) -> None:
        file["m/data"], file["m/indices"] = np.ones(len(indices)), np.array(indices)
        file["m/indptr"] = np.array([0, 1, len(indices)])
        if shape is not None:
            file["m"].attrs["shape"] = shape

    return write


@pytest.mark.parametrize("indices", [[0, 3], [-1, 2]])
def test_indices_outside_a_matrix_are_an_error(tmp_path: Path, indices: list[int]) -> None:
    path = make(tmp_path, csr(indices))
    with pytest.raises(h5s.DecodeError, match="but the matrix has 3 columns"):
        read_all(path, "m")


@pytest.mark.parametrize("shape", [None, (2,), "wide"])
def test_a_matrix_of_unknown_width_is_refused(tmp_path: Path, shape: Any) -> None:
    path = make(tmp_path, csr([0, 1], shape))
    with pytest.raises(h5s.ConfigError, match="say how wide the matrix is"):
        read_all(path, "m")
    assert len(read_all(path, h5s.Sparse("m", n_columns=5))[0]["x"]) == 2


def test_parts_of_a_matrix_that_differ_in_length_are_refused(tmp_path: Path) -> None:
    def write(file: h5py.File) -> None:
        csr([0, 1])(file)
        del file["m/data"]
        file["m/data"] = np.ones(5)

    with pytest.raises(h5s.LayoutError, match="do not fit each other"):
        read_all(make(tmp_path, write), "m")


SLICES = [
    pytest.param({"length": 30}, "no slice fits", id="longer than every row"),
    pytest.param({"length": 5, "shift": 6}, "no slice fits", id="shifted beyond every row"),
    pytest.param({"length": 5, "stride": 0}, "stride of slices must be at least 1", id="stride"),
    pytest.param({"length": 0}, "length of slices must be at least 1", id="length"),
    pytest.param({"length": 2.5}, "length of slices must be at least 1", id="half"),
    pytest.param({"length": 2, "shift": 0.5}, "shift of slices must be whole", id="half shift"),
    pytest.param({"length": 2, "padding": "wrap"}, "padding of slices is one of", id="padding"),
    pytest.param({"starts": [0], "stops": [4], "step": 2}, "give a length to", id="step and stops"),
    pytest.param({}, "need a length, or starts and stops", id="nothing"),
    pytest.param({"stops": [1]}, "need starts as well", id="stops only"),
    pytest.param({"starts": [0, 1], "stops": [3]}, "2 starts but 1 stops", id="unequal"),
    pytest.param({"starts": [0.5], "stops": [3]}, "must be lists of integers", id="no integers"),
]


@pytest.mark.parametrize(("options", "said"), SLICES)
def test_slices_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    with pytest.raises(h5s.ConfigError, match=said):
        read_all(path, h5s.Slices("x", **options))


@pytest.mark.parametrize(("start", "stop"), [(5, 11), (-1, 4), (4, 2)])
def test_slices_outside_their_dataset_are_refused(tmp_path: Path, start: int, stop: int) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    with pytest.raises(h5s.LayoutError, match=f"goes from {start} to {stop}"):
        read_all(path, h5s.Slices("x", starts=[start], stops=[stop]))


def test_slices_of_unequal_stride_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    fields = {"a": h5s.Slices("x", 2), "b": h5s.Slices("x", 2, stride=2)}
    with pytest.raises(h5s.ConfigError, match="need one stride"):
        list(h5s.H5Stream(path, fields))


@pytest.mark.parametrize(
    ("subset", "said"),
    [
        pytest.param(np.ones(9, bool), "the mask has 9 elements, but there are 10 rows", id="mask"),
        pytest.param([0, 10], "row 10 of the subset does not exist", id="outside"),
        pytest.param(np.zeros(10, bool), "has none of the 10 rows", id="empty"),
        pytest.param({"x": 99}, "no row has 'x' = 99", id="never"),
    ],
)
def test_subsets_that_do_not_fit_are_refused(tmp_path: Path, subset: Any, said: str) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    with pytest.raises(h5s.ConfigError, match=said):
        read_all(path, "x", subset=subset)


@pytest.mark.parametrize("at", [[0, 10], [-1]])
def test_picked_rows_that_do_not_exist_are_refused(tmp_path: Path, at: list[int]) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    with pytest.raises(h5s.LayoutError, match="picks rows"):
        read_all(path, h5s.Picked("x", at=np.array(at)))


@pytest.mark.parametrize("at", [[0.5], [[0]], 3], ids=str)
def test_picks_that_are_no_list_of_integers_are_refused(tmp_path: Path, at: Any) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.zeros((10, 2))))
    for options in ({"at": at}, {"at": [1], "within": at}):
        with pytest.raises(h5s.ConfigError, match="must be a list of integers"):
            read_all(path, h5s.Picked("x", **options))


@pytest.mark.parametrize(
    ("kind", "message"),
    [(h5s.Slices, "cut into slices twice"), (h5s.Picked, "Slices cannot be cut or picked from")],
)
def test_slices_cannot_be_cut_or_picked_from(tmp_path: Path, kind: Any, message: str) -> None:
    path = make(tmp_path, lambda file: file.update(x=np.arange(10)))
    with pytest.raises(h5s.ConfigError, match=message):
        read_all(path, kind(h5s.Slices("x", 4), 2))


def test_matrices_of_unequal_width_are_refused(tmp_path: Path) -> None:
    paths = []
    for width in (3, 4):
        (tmp_path / str(width)).mkdir()
        paths.append(make(tmp_path / str(width), csr([0, 1], (2, width))))
    with pytest.raises(h5s.ConfigError, match=r"sparse float64 \(4,\), but .* \(3,\)"):
        list(h5s.H5Stream(paths, ["m"]))


@pytest.mark.parametrize("first", ["dense", "groups"])
def test_a_field_may_be_one_dataset_here_and_a_dataset_for_each_row_there(
    tmp_path: Path, first: str
) -> None:
    paths = {name: tmp_path / f"{name}.h5" for name in ("dense", "groups")}
    rows = {"dense": [[0, 1, 2], [3, 4, 5]], "groups": [[6, 7, 8], [9, 10, 11]]}
    with h5py.File(paths["dense"], "w") as dense, h5py.File(paths["groups"], "w") as groups:
        dense["x"] = rows["dense"]
        groups["x/0"], groups["x/1"] = rows["groups"]
    names = sorted(paths, key=lambda name: name != first)
    stream = h5s.H5Stream([paths[name] for name in names], ["x"], batch_size=4, convention=None)
    (batch,) = stream
    assert batch["x"].tolist() == [row for name in names for row in rows[name]]


def test_datasets_that_are_rows_must_be_alike(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(a1=np.zeros((2, 3)), a2=np.zeros((2, 4))))
    with pytest.raises(h5s.ConfigError, match="must agree but in length"):
        read_all(path, h5s.Grouped("a*"))


def test_fewer_than_no_datasets_are_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(a1=np.zeros(2), a2=np.zeros(2)))
    with pytest.raises(h5s.ConfigError, match="should have -1 rows"):
        read_all(path, h5s.Grouped("a*", n_rows=-1))


def test_a_pattern_that_fits_nothing_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(a1=np.zeros(2)))
    with pytest.raises(h5s.ConfigError, match=r"nothing fits 'b\*'; it has a1"):
        read_all(path, h5s.Grouped("b*"))


def test_an_attribute_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path, lambda file: file.update(a1=np.zeros(2)))
    with pytest.raises(h5s.ConfigError, match="has no attribute 'label'"):
        read_all(path, h5s.Grouped("a*", attribute="label"))


def vlen_file(folder: Path) -> tuple[Path, int]:
    """Write a file with elements of variable length; return it and where the descriptors lie."""
    path = folder / "file.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("x", (4,), h5py.vlen_dtype("i4"))
        for row in range(4):
            dataset[row] = np.full(5, row, "i4")
    with h5py.File(path) as file:
        return path, file["x"].id.get_offset()


def patch(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def heap_of(path: Path) -> int:
    return path.read_bytes().index(b"GCOL")


@pytest.mark.parametrize(
    ("field", "value", "error", "said"),
    [
        pytest.param(0, 2**31, h5s.LayoutError, "row 2 of '/x' has", id="too long"),
        pytest.param(4, 2**40, h5s.LayoutError, "row 2 of '/x' has", id="outside the file"),
        pytest.param(4, 8, h5s.DecodeError, "row 2 .* no heap collection at byte 8", id="no heap"),
        pytest.param(12, 99, h5s.DecodeError, "row 2 .* object 99", id="no such object"),
        pytest.param(0, 50, h5s.DecodeError, "row 2 .* missing or too short", id="too short"),
    ],
)
def test_descriptors_that_point_to_nothing_are_an_error(
    tmp_path: Path, field: int, value: int, error: type[Exception], said: str
) -> None:
    path, offset = vlen_file(tmp_path)
    patch(path, offset + 2 * 16 + field, struct.pack("<Q" if field == 4 else "<I", value))
    with pytest.raises(error, match=said):
        read_all(path, "x")


def test_rows_that_have_more_than_the_file_together_are_an_error(tmp_path: Path) -> None:
    path, offset = vlen_file(tmp_path)
    half = path.stat().st_size // 8
    for row in range(1, 4):
        patch(path, offset + row * 16, struct.pack("<I", half))
    with pytest.raises(h5s.LayoutError, match=r"the rows of '/x' have .* bytes together"):
        read_all(path, "x")


def test_rows_may_share_an_object(tmp_path: Path) -> None:
    path, offset = vlen_file(tmp_path)
    first = path.read_bytes()[offset : offset + 16]
    patch(path, offset, first * 4)
    (batch,) = read_all(path, "x")
    assert [row.tolist() for row in batch["x"]] == [[0] * 5] * 4


@pytest.mark.parametrize("size", [0, 7, 2**40, 2**63 + 5, 2**64 - 1])
def test_heaps_of_impossible_size_are_an_error(tmp_path: Path, size: int) -> None:
    path, _offset = vlen_file(tmp_path)
    patch(path, heap_of(path) + 8, struct.pack("<Q", size))
    with pytest.raises(h5s.DecodeError, match="row 0 of '/x' is damaged"):
        read_all(path, "x")


@pytest.mark.parametrize("size", [0, 2**40, 2**64 - 8, 2**64 - 1])
def test_objects_of_impossible_size_are_an_error(tmp_path: Path, size: int) -> None:
    path, _offset = vlen_file(tmp_path)
    patch(path, heap_of(path) + 16 + 8, struct.pack("<Q", size))
    with pytest.raises(h5s.DecodeError, match="row 0 of '/x' is damaged"):
        read_all(path, "x")


def test_text_that_is_not_utf8_is_an_error_or_replaced(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        lambda file: file.create_dataset(
            "x", data=[b"good", b"bad \xff"], dtype=h5py.string_dtype()
        ),
    )
    with pytest.raises(h5s.DecodeError, match=r"row 1 of '/x' .* not UTF-8"):
        next(iter(h5s.H5Stream(path, ["x"], batch_size=2)))
    replaced = next(iter(h5s.H5Stream(path, {"x": h5s.Vlen("x", errors="replace")}, batch_size=2)))
    assert replaced["x"] == ["good", "bad �"]
    raw = next(iter(h5s.H5Stream(path, {"x": h5s.Vlen("x", text=False)}, output="numpy")))
    assert raw["x"].tobytes() == b"good"
