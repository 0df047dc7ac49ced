"""Files as AnnData has written them over the years, and the real one that comes along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.columns import Sparse as SparseColumn
from h5stream.conventions import anndata, recognise
from h5stream.conventions.anndata import list_categories
from h5stream.errors import ConfigError, LayoutError, UnsupportedError
from h5stream.fields import Dense, FieldSpec, Known, Sparse, Vlen
from tests.conventions.evaluate import evaluate, evaluate_all

N = 4
X = np.array([[0, 1, 0], [2, 0, 3], [0, 0, 0], [4, 0, 0]], "f4")


def encode(node: Any, kind: str, **attributes: Any) -> Any:
    node.attrs["encoding-type"] = kind
    node.attrs.update(attributes)
    return node


def put_sparse(file: h5py.File, path: str, matrix: np.ndarray, kind: str = "csr") -> h5py.Group:
    group = encode(file.create_group(path), f"{kind}_matrix", shape=matrix.shape)
    turned = matrix if kind == "csr" else matrix.T
    group["data"] = turned[turned != 0]
    group["indices"] = np.nonzero(turned)[1].astype("i4")
    group["indptr"] = np.append(0, np.cumsum((turned != 0).sum(1)))
    return group


def put_categories(file: h5py.File, name: str, codes: list[int], categories: Any) -> h5py.Group:
    group = encode(file.create_group(f"obs/{name}"), "categorical", ordered=False)
    group["codes"] = np.array(codes, "i1")
    group["categories"] = categories
    return group


def put_nullable(
    file: h5py.File, name: str, kind: str, values: Any, mask: list[bool]
) -> h5py.Group:
    group = encode(file.create_group(f"obs/{name}"), f"nullable-{kind}")
    group["values"], group["mask"] = values, np.array(mask)
    return group


def start(file: h5py.File, columns: list[str]) -> None:
    encode(file, "anndata")
    encode(file.create_group("obs"), "dataframe", _index="_index")
    file["obs"].attrs["column-order"] = np.array(columns, h5py.string_dtype())
    file["obs/_index"] = np.array(["a", "b", "c", "dé"], object)
    encode(file.create_group("var"), "dataframe", _index="_index")


def fields_of(file: h5py.File, *args: Any) -> dict[str, FieldSpec]:
    convention = recognise(file)
    assert convention is not None
    assert convention.name == "AnnData"
    return convention.default_fields(file, *args)


def test_the_present_encoding(file: h5py.File) -> None:
    start(file, ["type", "n"])
    put_sparse(file, "X", X)
    file["layers/counts"] = X * 2
    file["obsm/pca"] = X[:, :2]
    encode(file.create_group("obsm/table"), "dataframe")
    put_sparse(file, "raw/X", np.tile(X, 2))
    put_sparse(file, "obsp/near", np.eye(N))
    put_categories(file, "type", [1, 0, -1, 1], np.array(["T", "B cell"], object))
    file["obs/n"] = np.arange(N)
    made = fields_of(file)
    assert list(made) == ["X", "layers/counts", "obsm/pca", "obs/_index", "obs/type", "obs/n"]
    assert made["X"] == Sparse("X", n_columns=3)
    assert made["obs/_index"] == Vlen("obs/_index")
    samples = evaluate_all(file, made)
    assert np.array_equal([sample["X"] for sample in samples], X)
    assert [sample["obs/type"] for sample in samples] == ["B cell", "T", None, "B cell"]
    names = recognise(file).field_names(file)
    assert names == [*made, "raw/X", "obs/type/codes", "obs/type/file_codes", "obsp/near"]
    named = fields_of(file, ["obs/type/codes", "raw/X", "obsp/near"])
    assert named == {
        "obs/type/codes": Dense("obs/type/codes"),
        "raw/X": Sparse("raw/X", n_columns=6),
        "obsp/near": Sparse("obsp/near", n_columns=4),
    }
    assert list_categories(file, "obs/type") == ["T", "B cell"]


def test_rows_share_the_text_of_their_category(file: h5py.File) -> None:
    start(file, ["type"])
    put_categories(file, "type", [0] * N, np.array(["x" * 1000], object))
    spec = fields_of(file)["obs/type"]
    assert isinstance(spec, Known)
    assert len(spec.column._stored) == 1000
    assert list(spec.column) == ["x" * 1000] * N


@pytest.mark.parametrize(
    ("codes", "categories", "expected"),
    [
        pytest.param([0, 1, 1, 0], [10, 20], [10, 20, 20, 10], id="integers"),
        pytest.param([0, 1, -1, 0], [10, 20], [10, 20, np.nan, 10], id="missing integers"),
        pytest.param([0, -1, 1, 0], [0.5, 1.5], [0.5, np.nan, 1.5, 0.5], id="floats"),
        pytest.param([1, 0, 0, 1], [False, True], [True, False, False, True], id="flags"),
        pytest.param([-1] * 4, np.zeros(0), [np.nan] * 4, id="all missing"),
    ],
)
def test_categories_that_are_numbers(
    file: h5py.File, codes: list[int], categories: Any, expected: list[Any]
) -> None:
    start(file, ["k"])
    put_categories(file, "k", codes, categories)
    found = np.array(evaluate(file, fields_of(file, ["obs/k"])["obs/k"]))
    assert np.array_equal(found, np.array(expected), equal_nan=True)
    assert found.dtype == np.array(expected).dtype


def test_nullable_columns(file: h5py.File) -> None:
    start(file, ["i", "full", "b", "s"])
    mask = [False, True, False, False]
    put_nullable(file, "i", "integer", np.arange(N), mask)
    put_nullable(file, "full", "integer", np.arange(N), [False] * N)
    put_nullable(file, "b", "boolean", np.ones(N, bool), mask)
    put_nullable(file, "s", "string-array", np.array(["p", "q", "r", "s"], object), mask)
    columns = {name: evaluate(file, spec) for name, spec in fields_of(file).items()}
    assert np.array_equal(columns["obs/i"], [0, np.nan, 2, 3], equal_nan=True)
    assert columns["obs/full"] == [0, 1, 2, 3]
    assert columns["obs/full"][0].dtype == np.int64
    assert np.array_equal(columns["obs/b"], [1, np.nan, 1, 1], equal_nan=True)
    assert columns["obs/s"] == ["p", None, "r", "s"]


def test_the_encoding_of_version_0_7(file: h5py.File) -> None:
    start(file, ["type", "n"])
    del file.attrs["encoding-type"]
    file["X"] = X
    file["obs/n"] = np.array([b"one", b"two", b"3", b"4"])
    file["obs/__categories/type"] = np.array(["T", "B"], object)
    codes = file.create_dataset("obs/type", data=np.array([0, 1, 1, -1], "i1"))
    codes.attrs["categories"] = file["obs/__categories/type"].ref
    made = fields_of(file)
    assert list(made) == ["X", "obs/_index", "obs/type", "obs/n"]
    assert evaluate(file, made["obs/type"]) == ["T", "B", "B", None]
    assert evaluate(file, made["obs/n"]) == ["one", "two", "3", "4"]
    assert fields_of(file, ["obs/type/codes"]) == {"obs/type/codes": Dense("obs/type")}


@pytest.fixture
def old(file: h5py.File) -> h5py.File:
    obs = np.zeros(N, [("index", "S3"), ("type", "i1"), ("n", "<i8"), ("plain", "i1")])
    obs["index"], obs["type"], obs["n"] = [b"a", b"b", b"c", b"d"], [1, 0, -1, 1], range(N)
    file["obs"], file["var"] = obs, np.zeros(3, [("index", "S3")])
    file["obsm"] = np.zeros(N, [("X_pca", "<f4", (2,))])
    file["uns/type_categories"] = np.array([b"T", b"B"])
    for path in ("X", "raw.X"):
        group = put_sparse(file, path, X)
        shape = group.attrs.pop("shape")
        del group.attrs["encoding-type"]
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", shape
    return file


def test_the_old_compound_encoding(old: h5py.File) -> None:
    made = fields_of(old)
    names = ["X", "obsm/X_pca", "obs/index", "obs/type", "obs/n", "obs/plain"]
    assert list(made) == names
    assert made["X"] == Sparse("X", n_columns=3)
    assert made["obsm/X_pca"] == Dense("obsm[X_pca]")
    assert made["obs/plain"] == Dense("obs[plain]")
    assert evaluate(old, made["obs/index"]) == ["a", "b", "c", "d"]
    assert evaluate(old, made["obs/type"]) == ["B", "T", None, "B"]
    assert fields_of(old, ["raw/X", "obs/type/codes"]) == {
        "raw/X": Sparse("raw.X", n_columns=3),
        "obs/type/codes": Dense("obs[type]"),
    }


@pytest.fixture
def real() -> Iterator[h5py.File]:
    with h5py.File(h5s.example_file()) as file:
        yield file


def test_the_real_file(real: h5py.File) -> None:
    made = fields_of(real, [*fields_of(real), "raw/X"])
    columns = {name: evaluate(real, spec) for name, spec in made.items()}
    assert np.array_equal(columns["X"], real["X"][()])
    obs = real["obs"][()]
    for name in ("bulk_labels", "phase", "louvain"):
        known = real[f"uns/{name}_categories"][()].astype(str)
        assert columns[f"obs/{name}"] == known[obs[name]].tolist()
    for name in ("n_genes", "percent_mito", "n_counts", "S_score", "G2M_score"):
        assert np.array_equal(columns[f"obs/{name}"], obs[name])
    assert columns["obs/index"] == obs["index"].astype(str).tolist()
    assert np.array_equal(columns["obsm/X_umap"], real["obsm"]["X_umap"])
    data, indices, indptr = (real["raw.X"][name][()] for name in ("data", "indices", "indptr"))
    for row in (0, 350, 699):
        part = slice(indptr[row], indptr[row + 1])
        assert np.array_equal(columns["raw/X"][row][indices[part]], data[part])
        assert np.count_nonzero(columns["raw/X"][row]) == len(data[part])


def test_small_csc_matrices_are_turned_round(file: h5py.File) -> None:
    start(file, [])
    put_sparse(file, "X", X, "csc")
    spec = fields_of(file)["X"]
    assert isinstance(spec, Known)
    assert isinstance(spec.column, SparseColumn)
    assert np.array_equal(spec.column.dense(), X)
    assert spec.column.dtype == X.dtype


def test_large_csc_matrices_are_refused(file: h5py.File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anndata, "_MOST_TURNED", 3)
    start(file, [])
    put_sparse(file, "X", X, "csc")
    with pytest.raises(UnsupportedError, match="'X' is stored as csc_matrix, which has no rows"):
        fields_of(file)


def test_layers_that_have_no_rows_are_left_out(
    file: h5py.File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anndata, "_MOST_TURNED", 3)
    start(file, [])
    file["X"] = X
    put_sparse(file, "layers/turned", X, "csc")
    assert list(fields_of(file)) == ["X", "obs/_index"]


def code_beyond(file: h5py.File) -> None:
    put_categories(file, "type", [0, 1, 2, 0], np.array(["T", "B"], object))


def code_below(file: h5py.File) -> None:
    put_categories(file, "type", [0, -2, 0, 0], np.array(["T", "B"], object))


def fractional_codes(file: h5py.File) -> None:
    group = put_categories(file, "type", [0], np.array(["T"], object))
    del group["codes"]
    group["codes"] = np.zeros(N)


def no_categories(file: h5py.File) -> None:
    del put_categories(file, "type", [0] * N, np.array(["T"], object))["categories"]


def category_not_utf8(file: h5py.File) -> None:
    put_categories(file, "type", [0] * N, np.array([b"\xff"]))


def matrix_of_categories(file: h5py.File) -> None:
    put_categories(file, "type", [0] * N, np.zeros((2, 2)))


def short_mask(file: h5py.File) -> None:
    put_nullable(file, "type", "integer", np.arange(N), [False])


def no_column(file: h5py.File) -> None:
    file["obs"].attrs["column-order"] = np.array(["type"], object)


def no_shape(file: h5py.File) -> None:
    put_sparse(file, "layers/l", X).attrs["shape"] = 3


def wrong_offsets(file: h5py.File) -> None:
    group = put_sparse(file, "layers/l", X, "csc")
    group["indptr"][1] = 4


def wrong_rows(file: h5py.File) -> None:
    group = put_sparse(file, "layers/l", X, "csc")
    group["indices"][0] = 99


def huge(file: h5py.File) -> None:
    group = put_categories(file, "type", [0], np.array(["T"], object))
    del group["codes"]
    group.create_dataset("codes", (2**42,), "i1", chunks=(2**20,))


def type_in_place_of_a_column(file: h5py.File) -> None:
    del file["obs/_index"]
    file["obs/_index"] = np.dtype("f4")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (type_in_place_of_a_column, "names the column '_index', but has none"),
        (code_beyond, "has 2 categories, but row 2 of obs/type has the code 2"),
        (code_below, "row 1 of obs/type has the code -2"),
        (fractional_codes, "its codes are float64"),
        (no_categories, "/obs/type' has no dataset 'categories'"),
        (category_not_utf8, "text that is not UTF-8"),
        (matrix_of_categories, "should have 1 axes"),
        (short_mask, "4 values, but a mask of 1"),
        (no_column, "names the column 'type', but has none"),
        (no_shape, "no attribute `shape` of two numbers"),
        (wrong_offsets, "offsets that do not fit 4 elements in 3 columns"),
        (wrong_rows, "indices outside its 4 rows"),
        (huge, "4398046511104 elements of int8, too many to keep in memory"),
    ],
)
def test_files_that_break_the_convention_are_refused(
    file: h5py.File, spoil: Callable[[h5py.File], None], said: str
) -> None:
    start(file, [])
    spoil(file)
    with pytest.raises(LayoutError, match=f"memory.h5.*{said}"):
        fields_of(file)


def test_what_does_not_fit_a_file_is_refused(old: h5py.File) -> None:
    with pytest.raises(ConfigError, match="did you mean obs/type"):
        fields_of(old, ["obs/typ"])
    with pytest.raises(ConfigError, match="'obs/n' is no column of categories"):
        list_categories(old, "obs/n")
    with pytest.raises(ConfigError, match="obs has no column 'm'"):
        list_categories(old, "obs/m")
