"""Files as h5torch and its old versions write them, whole, partly and wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.conventions import recognise
from h5stream.errors import ConfigError, LayoutError
from h5stream.fields import Dense, FieldSpec, Grouped, Picked, Slices, Sparse, Vlen
from tests.conventions.evaluate import evaluate_all


def mark(node: Any, mode: str, shape: tuple[int, ...], load: str, filled_to: int | None) -> None:
    node.attrs["mode"], node.attrs["shape"] = mode, np.array(shape)
    node.attrs["dtypes"] = ["float32", load]
    if filled_to is not None:
        node.attrs["filled_to"] = filled_to


def put_plain(
    file: h5py.File, name: str, data: Any, *, load: str = "float32", filled_to: int | None = None
) -> h5py.Dataset:
    node = file.create_dataset(name, data=data)
    mark(node, "N-D", node.shape, load, filled_to)
    return node


def put_csr(
    file: h5py.File,
    name: str,
    indptr: list[int],
    *,
    n_columns: int = 4,
    filled_to: int | None = None,
) -> h5py.Group:
    group = file.create_group(name)
    group["data"] = np.arange(1, max(indptr) + 1, dtype="f4")
    group["indices"] = np.arange(max(indptr), dtype="i4") % n_columns
    group["indptr"] = np.array(indptr, "i4")
    mark(group, "csr", (len(indptr) - 1, n_columns), "float32", filled_to)
    return group


def put_separate(
    file: h5py.File, name: str, arrays: list[Any], *, length: int, filled_to: int | None = None
) -> h5py.Group:
    group = file.create_group(name)
    for row, array in enumerate(arrays):
        group[str(row)] = array
    mark(group, "separate", (length,), "float32", filled_to)
    return group


def put_elements(file: h5py.File, indices: Any, shape: tuple[int, ...]) -> h5py.Group:
    group = file.create_group("central")
    group["indices"] = np.array(indices, "i4")
    group["data"] = np.arange(group["indices"].shape[1], dtype="f4")
    mark(group, "coo", shape, "float32", shape[0])
    return group


def fields_of(file: h5py.File, *args: Any, **options: Any) -> dict[str, FieldSpec]:
    convention = recognise(file)
    assert convention is not None
    assert convention.name == "h5torch"
    return convention.default_fields(file, *args, **options)


MATRIX = np.arange(12, dtype="f4").reshape(4, 3)


def test_a_file_that_is_partly_written_ends_where_its_first_object_ends(file: h5py.File) -> None:
    put_plain(file, "central", MATRIX, filled_to=3)
    put_plain(file, "0/label", np.arange(4.0, dtype="f4"), filled_to=4)
    put_csr(file, "0/csr", [0, 1, 3, 0, 0], filled_to=2)
    put_separate(file, "0/sep", [np.ones(2, "f4"), np.ones(3, "f4")], length=4, filled_to=2)
    made = fields_of(file)
    assert made == {
        "central": Dense("central", n_rows=2),
        "0/csr": Sparse("0/csr", n_columns=4, n_rows=2, dense=True),
        "0/label": Dense("0/label", n_rows=2),
        "0/sep": Grouped("0/sep", n_rows=2),
    }
    assert len(evaluate_all(file, made)) == 2


def test_files_of_old_versions_open_without_filled_to(file: h5py.File) -> None:
    put_plain(file, "central", MATRIX)
    put_csr(file, "0/csr", [0, 1, 3, 3, 0])
    put_separate(file, "0/sep", [np.ones(2, "f4")] * 4, length=4)
    made = fields_of(file)
    assert made["0/csr"] == Sparse("0/csr", n_columns=4, n_rows=3, dense=True)
    assert len(evaluate_all(file, made)) == 3


def test_objects_without_load_types_come_as_stored(file: h5py.File) -> None:
    del put_plain(file, "central", MATRIX, load="float64").attrs["dtypes"]
    assert fields_of(file) == {"central": Dense("central")}


@pytest.mark.parametrize(
    ("data", "load", "expected"),
    [
        pytest.param(np.array([b"ab", b"c"]), "<U0", "U", id="text of any length"),
        pytest.param(np.array([b"ab", b"c"]), "<U1", "<U1", id="text of one character"),
        pytest.param(np.array([b"ab", b"c"]), "|S0", None, id="bytes"),
        pytest.param(np.array([True, False]), "bool", None, id="bool"),
        pytest.param(np.array([True, False]), "int64", "<i8", id="bool as integer"),
        pytest.param(np.array([1j, 2]), "complex128", None, id="complex"),
    ],
)
def test_values_come_in_their_load_type(
    file: h5py.File, data: np.ndarray, load: str, expected: str | None
) -> None:
    put_plain(file, "central", data, load=load)
    assert fields_of(file) == {"central": Dense("central", dtype=expected)}


def test_text_of_variable_length_is_text(file: h5py.File) -> None:
    put_plain(file, "central", np.array(["a", "bc"], object), load="<U0")
    assert fields_of(file) == {"central": Vlen("central")}


def test_sparse_rows_come_sparse_if_they_are_to_be_loaded_so(file: h5py.File) -> None:
    put_csr(file, "central", [0, 1, 3], filled_to=2).attrs["load_sparse"] = True
    assert fields_of(file) == {"central": Sparse("central", n_columns=4)}


def test_the_names_of_fields_say_the_axis(file: h5py.File) -> None:
    put_plain(file, "central", MATRIX)
    put_plain(file, "0/a", np.arange(4.0, dtype="f4"))
    put_plain(file, "1/b", np.arange(3.0, dtype="f4"))
    assert fields_of(file, ["1/b"]) == {"1/b": Dense("1/b")}
    assert fields_of(file, ["1/b", "central"]) == {
        "1/b": Dense("1/b"),
        "central": Dense("central", axis=1),
    }
    assert isinstance(fields_of(file, ["1/b", "0/a"])["0/a"], Picked)
    assert recognise(file).field_names(file) == ["central", "0/a", "1/b"]


def test_elements_of_a_cube_in_c_order(file: h5py.File) -> None:
    cube = np.arange(24, dtype="f4").reshape(2, 3, 4)
    put_plain(file, "central", cube)
    put_plain(file, "2/depth", np.arange(4.0, dtype="f4") * 10)
    samples = evaluate_all(file, fields_of(file, sampling="coo"))
    assert [sample["central"] for sample in samples] == list(range(24))
    assert [sample["2/depth"] for sample in samples] == [0, 10, 20, 30] * 6


def test_elements_end_where_the_rows_of_an_axis_end(file: h5py.File) -> None:
    put_elements(file, [[0, 1, 1, 2], [0, 2, 1, 0]], (3, 3))
    put_plain(file, "1/b", np.arange(3.0, dtype="f4"), filled_to=2)
    samples = evaluate_all(file, fields_of(file))
    assert samples == [{"central": at, "1/b": row} for at, row in ((0, 0), (2, 1), (3, 0))]


def test_separate_images_of_unequal_shapes_have_a_field_of_shapes(file: h5py.File) -> None:
    put_separate(file, "central", [np.ones((1, 2), "f4"), np.ones((1, 3), "f4")], length=2)
    put_separate(file, "0/alike", [np.ones((1, 2), "f4"), np.ones((2, 2), "f4")], length=2)
    assert recognise(file).field_names(file) == ["central", "0/alike", "central/shape"]
    made = fields_of(file)
    assert made["central"] == Grouped("central", flat=True)
    assert made["0/alike"] == Grouped("0/alike")
    assert fields_of(file, ["central/shape"])["central/shape"].column.tolist() == [[1, 2], [1, 3]]


def test_windows_share_rows(file: h5py.File) -> None:
    put_plain(file, "central", MATRIX)
    made = fields_of(file, window_size=3, overlap=2)
    assert made == {"central": Slices(Dense("central"), length=3, stride=1)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"sampling": 2}, r"sampling must be .* \(4, 3\), not 2", id="axis"),
        pytest.param({"sampling": "csr"}, "sampling must be", id="word"),
        pytest.param({"window_size": 2, "overlap": 2}, "longer than what they share", id="overlap"),
        pytest.param(
            {"window_size": 2, "window_indices": [(0, 1)]}, "either window_indices", id="both"
        ),
        pytest.param({"fields": ["0/label"]}, "no field '0/label'; it has central", id="field"),
        pytest.param({"by": "id"}, "no option 'by'; there are: sampling, window", id="option"),
    ],
)
def test_what_does_not_fit_a_file_is_refused(
    file: h5py.File, options: dict[str, Any], said: str
) -> None:
    put_plain(file, "central", MATRIX)
    with pytest.raises(ConfigError, match=said):
        fields_of(file, **options)


def csr_along_columns(file: h5py.File) -> dict[str, FieldSpec]:
    put_csr(file, "central", [0, 1, 3])
    return fields_of(file, sampling=1)


def csr_by_element(file: h5py.File) -> dict[str, FieldSpec]:
    put_csr(file, "central", [0, 1, 3])
    return fields_of(file, sampling="coo")


def coo_by_row(file: h5py.File) -> dict[str, FieldSpec]:
    put_elements(file, [[0], [0]], (2, 2))
    return fields_of(file, sampling=0)


def partly_filled_along_columns(file: h5py.File) -> dict[str, FieldSpec]:
    put_plain(file, "central", MATRIX, filled_to=2)
    return fields_of(file, sampling=1)


def windows_of_sparse_rows(file: h5py.File) -> dict[str, FieldSpec]:
    put_csr(file, "central", [0, 1, 3])
    return fields_of(file, window_size=2)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (csr_along_columns, "stored as csr and cannot be sampled along axis 1"),
        (csr_by_element, "needs a central object stored as N-D or coo, not csr"),
        (coo_by_row, 'use sampling="coo"'),
        (partly_filled_along_columns, "filled to row 2 of 4"),
        (windows_of_sparse_rows, "take windows as batches"),
    ],
)
def test_what_a_mode_cannot_do_is_refused(
    file: h5py.File, ask: Callable[[h5py.File], Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        ask(file)


def test_a_matrix_with_too_many_elements_is_not_taken_one_by_one(file: h5py.File) -> None:
    node = file.create_dataset("central", (2**20, 2**20), "f4", chunks=(64, 64))
    mark(node, "N-D", node.shape, "float32", None)
    with pytest.raises(ConfigError, match="1099511627776 elements, too many"):
        fields_of(file, sampling="coo")


def wrong_length(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(3.0, dtype="f4"))


def overfull(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(4.0, dtype="f4"), filled_to=5)


def no_mode(file: h5py.File) -> None:
    file["0/label"] = np.arange(4)


def mode_of_another_kind(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(4.0, dtype="f4")).attrs["mode"] = "csr"


def not_lists(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(4.0, dtype="f4")).attrs["mode"] = "vlen"


def scalar(file: h5py.File) -> None:
    put_plain(file, "0/label", 3.0)


def unknown_type(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(4.0, dtype="f4"), load="float99")


def load_as_objects(file: h5py.File) -> None:
    put_plain(file, "0/label", np.arange(4.0, dtype="f4"), load="O")


def decreasing_offsets(file: h5py.File) -> None:
    put_csr(file, "0/csr", [0, 3, 1, 2, 3])


def too_few_offsets(file: h5py.File) -> None:
    put_csr(file, "0/csr", [0, 1, 2]).attrs["shape"] = [4, 4]


def no_offsets(file: h5py.File) -> None:
    del put_csr(file, "0/csr", [0, 1, 2, 2, 2])["indptr"]


def shape_of_words(file: h5py.File) -> None:
    put_csr(file, "0/csr", [0, 1, 2, 2, 2]).attrs["shape"] = "4x4"


def missing_row(file: h5py.File) -> None:
    group = put_separate(file, "0/sep", [np.ones(2)] * 4, length=4, filled_to=4)
    del group["2"]


def surplus_rows(file: h5py.File) -> None:
    put_separate(file, "0/sep", [np.ones(2)] * 5, length=4)


def unequal_axes(file: h5py.File) -> None:
    put_separate(file, "0/sep", [np.ones(2), np.ones((1, 2))], length=4)


def no_such_axis(file: h5py.File) -> None:
    put_plain(file, "5/label", np.arange(4.0, dtype="f4"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (wrong_length, "/0/label' has 3 rows, but axis 0 of the central object has 4"),
        (overfull, "filled to row 5 of 4"),
        (no_mode, "no mode of h5torch"),
        (mode_of_another_kind, "is a Dataset, but its mode is 'csr'"),
        (not_lists, "not lists"),
        (scalar, "is a scalar"),
        (unknown_type, "'float99', which is no type of NumPy"),
        (load_as_objects, "not numbers, nor strings"),
        (decreasing_offsets, "/0/csr' has offsets that decrease after row 0"),
        (too_few_offsets, "3 offsets for 4 rows"),
        (no_offsets, "/0/csr' has no dataset 'indptr'"),
        (shape_of_words, "no attribute `shape` of 2 numbers"),
        (missing_row, "/0/sep' has 3 datasets, but not that of row 2"),
        (surplus_rows, "5 datasets for 4 rows"),
        (unequal_axes, "different numbers of axes"),
        (no_such_axis, r"belongs to no axis of the central object of \(4, 3\)"),
    ],
)
def test_files_that_break_the_convention_are_refused(
    file: h5py.File, spoil: Callable[[h5py.File], None], said: str
) -> None:
    put_plain(file, "central", MATRIX)
    spoil(file)
    with pytest.raises(LayoutError, match=f"memory.h5.*{said}"):
        fields_of(file, sampling="coo" if spoil is no_such_axis else 0)


@pytest.mark.parametrize(
    ("indices", "said"),
    [
        pytest.param([[0, 3], [0, 0]], "element 1 at index 3 of axis 0, which has 3", id="beyond"),
        pytest.param([[0, 0], [-1, 0]], "element 0 at index -1 of axis 1", id="negative"),
        pytest.param([[0, 1]], r"indices of shape \(1, 2\)", id="axes"),
    ],
)
def test_elements_outside_the_matrix_are_refused(
    file: h5py.File, indices: list[list[int]], said: str
) -> None:
    put_elements(file, indices, (3, 3))
    with pytest.raises(LayoutError, match=f"central.*{said}"):
        fields_of(file)


@pytest.mark.parametrize("fields", [None, ["central", "0/y"]], ids=["default", "named"])
def test_the_end_of_a_partly_filled_file_is_told(tmp_path: Path, fields: list[str] | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        put_plain(file, "central", MATRIX, filled_to=3)
        put_plain(file, "0/y", np.arange(len(MATRIX), dtype=np.float32))
        put_plain(file, "1/z", np.arange(MATRIX.shape[1], dtype=np.float32), filled_to=1)
    stream = h5s.H5Stream(tmp_path / "a.h5", fields, batch_size=2)
    (told,) = [line for line in str(stream.explain()).splitlines() if "left out" in line]
    assert f"'central' is filled to row 3 of {len(MATRIX)}; the rest is not streamed" in told
    assert len(stream.rows().row) == 3
