"""Several files of AnnData read together: their numbers mean one thing, or they are refused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from tests.conventions.test_anndata import put_categories, put_sparse, start
from tests.places import PLACES, placed

N = 4


def write(
    path: Path,
    codes: list[int],
    categories: list[str],
    *,
    genes: str = "abc",
    more: dict[str, Any] | None = None,
) -> str:
    with h5py.File(path, "w") as file:
        start(file, ["t", *(more or {})])
        put_sparse(file, "X", np.arange(12.0).reshape(N, 3))
        put_categories(file, "t", codes, np.array(categories, object))
        for name, values in (more or {}).items():
            file[f"obs/{name}"] = values
        var = file["var"]
        if "_index" in var:
            del var["_index"]
        var["_index"] = np.array(list(genes), object)
        var.attrs["_index"] = "_index"
    return str(path)


@given(data=st.data(), where=st.sampled_from(PLACES))
def test_codes_count_the_union_of_the_categories(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, where: str
) -> None:
    folder = tmp_path_factory.mktemp("cells")
    paths, texts, seen = [], [], {}
    for number in range(data.draw(st.integers(1, 3))):
        known = data.draw(st.permutations(["B", "NK", "T", "M"]))[: data.draw(st.integers(1, 4))]
        codes = data.draw(st.lists(st.integers(-1, len(known) - 1), min_size=N, max_size=N))
        paths.append(write(folder / f"{number}.h5ad", codes, known))
        texts += [None if code < 0 else known[code] for code in codes]
        seen |= dict.fromkeys(known)
    union = list(seen)
    with_places = [placed(path, where) for path in paths]
    urls = [place.__enter__() for place in with_places]
    try:
        fields = {"t": "obs/t", "y": "obs/t/codes"}
        stream = h5s.H5Stream(urls, fields, batch_size=3, shuffle=True, output="numpy")
        assert stream.categories == {"y": union}
        found = [
            (t, int(y)) for batch in stream for t, y in zip(batch["t"], batch["y"], strict=True)
        ]
        expected = [(text, -1 if text is None else union.index(text)) for text in texts]
        assert sorted(found, key=repr) == sorted(expected, key=repr)
        dataset = h5s.Dataset(urls, {"y": "obs/t/codes"})
        assert dataset.categories == {"y": union}
        assert [int(dataset[row]["y"]) for row in range(len(dataset))] == [y for _t, y in expected]
    finally:
        for place in with_places:
            place.__exit__(None, None, None)


def test_codes_of_each_file_go_by_a_name_that_says_so(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.h5ad", [0, 1, 1, 0], ["B", "T"]),
        write(tmp_path / "b.h5ad", [0, 1, 1, 0], ["T", "B"]),
    ]
    fields = {"own": "obs/t/file_codes", "all": "obs/t/codes"}
    rows = [(int(row["own"]), int(row["all"])) for row in h5s.H5Stream(paths, fields)]
    assert rows == [(0, 0), (1, 1), (1, 1), (0, 0), (0, 1), (1, 0), (1, 0), (0, 1)]


@pytest.mark.parametrize("genes", ["cba", "abd"], ids=["permuted", "different"])
@pytest.mark.parametrize("fields", [["X"], None], ids=["by name", "by default"])
def test_files_of_other_genes_are_refused(tmp_path: Path, genes: str, fields: Any) -> None:
    paths = [
        write(tmp_path / "a.h5ad", [0] * N, ["B"]),
        write(tmp_path / "b.h5ad", [0] * N, ["B"], genes=genes),
    ]
    with pytest.raises(h5s.ConfigError, match=r"b\.h5ad: the columns of 'X' have other names"):
        len(h5s.H5Stream(paths, fields))
    assert len(h5s.H5Stream(paths, ["obs/t"])) == 2 * N
    assert len(h5s.H5Stream(paths, ["X"], convention=None)) == 2 * N


def test_a_column_that_only_a_later_file_has_is_left_out_and_told(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.h5ad", [0] * N, ["B"]),
        write(tmp_path / "b.h5ad", [0] * N, ["B"], more={"extra": np.ones(N)}),
    ]
    stream = h5s.H5Stream(paths)
    assert "obs/extra" not in next(iter(stream))
    assert "'obs/extra' is not in" in str(stream.explain())
    with pytest.raises(h5s.ConfigError, match="there is no field 'obs/extra'"):
        len(h5s.H5Stream(paths[::-1]))


def test_a_column_in_brackets_of_a_group_says_what_to_write(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", [0] * N, ["B"])
    with pytest.raises(h5s.ConfigError, match="ask for 'obs/t'"):
        len(h5s.H5Stream(path, {"y": "obs[t]"}))


def test_integers_beside_missing_values_are_exact_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", [0] * N, ["B"])
    with h5py.File(path, "a") as file:
        group = file.create_group("obs/n")
        group.attrs["encoding-type"] = "nullable-integer"
        group["values"] = np.full(N, 2**60 + 1)
        group["mask"] = np.array([False, True, False, False])
    with pytest.raises(h5s.UnsupportedError, match=r"integers beyond 2\*\*53"):
        len(h5s.H5Stream(path, ["obs/n"]))
    assert set(next(iter(h5s.H5Stream(path)))) == {"X", "obs/_index", "obs/t"}


def put_matrix(file: h5py.File, name: str, matrix: np.ndarray, kind: str) -> None:
    """Store a matrix dense, in pieces of two rows and columns, or sparse."""
    if kind == "dense":
        file.create_dataset(name, data=matrix)
    elif kind == "chunked":
        file.create_dataset(name, data=matrix, chunks=(2, 2), compression="gzip")
    else:
        put_sparse(file, name, matrix, kind)


@given(data=st.data(), where=st.sampled_from(PLACES))
def test_genes_are_the_columns_of_every_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, where: str
) -> None:
    folder = tmp_path_factory.mktemp("genes")
    everywhere = data.draw(st.permutations("abcdef"))[: data.draw(st.integers(1, 6))]
    genes = data.draw(st.permutations(everywhere))
    kind = data.draw(st.sampled_from(["csr", "csc", "dense", "chunked"]))
    paths, expected, n_rows = [], [], 5
    for number in range(data.draw(st.integers(1, 3))):
        own = data.draw(st.permutations([*everywhere, *data.draw(st.sampled_from(["", "xy"]))]))
        values = st.integers(0, 3)
        matrix = np.array(
            data.draw(st.lists(values, min_size=n_rows * len(own), max_size=n_rows * len(own))),
            np.float32,
        ).reshape(n_rows, len(own))
        path = folder / f"{number}.h5ad"
        with h5py.File(path, "w") as file:
            start(file, [])
            put_matrix(file, "X", matrix, kind)
            file["obs/row"] = np.arange(n_rows) + n_rows * number
            del file["var"]
            file.create_group("var")["_index"] = np.array(list(own), object)
            file["var"].attrs["_index"] = "_index"
        paths.append(path)
        expected += [[row[own.index(gene)] for gene in genes] for row in matrix.tolist()]
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(placed(path, where)) for path in paths]
        options: dict[str, Any] = {
            "convention_options": {"genes": genes},
            "fields": ["X", "obs/row"],
        }
        found: dict[int, list[float]] = {}
        for batch in h5s.H5Stream(urls, batch_size=4, shuffle=True, output="numpy", **options):
            x = batch["X"] if isinstance(batch["X"], np.ndarray) else batch["X"].dense()
            found |= dict(zip(batch["obs/row"].tolist(), x.tolist(), strict=True))
        assert [found[row] for row in range(len(expected))] == expected
        rows = h5s.Dataset(urls, **options)
        one = rows[len(expected) - 1]["X"]
        last = one.to_dense() if hasattr(one, "to_dense") else np.asarray(one)
        assert np.asarray(last).reshape(-1).tolist() == expected[-1]


def test_genes_that_are_missing_or_not_unique_are_refused(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.h5ad", [0] * N, ["B"]),
        write(tmp_path / "b.h5ad", [0] * N, ["B"], genes="bcc"),
    ]

    def length(paths: Any, genes: Any) -> int:
        return len(h5s.H5Stream(paths, convention_options={"genes": genes}))

    assert length(paths, ["b"]) == 2 * N
    with pytest.raises(h5s.ConfigError, match=r"b\.h5ad: 1 of 2 genes are no columns of 'X': a"):
        length(paths, ["b", "a"])
    with pytest.raises(h5s.ConfigError, match=r"columns of 'X' have a name more than once: c"):
        length(paths, ["b", "c"])
    with pytest.raises(h5s.ConfigError, match=r"genes that are asked for have .*: b"):
        length(paths, ["b", "b"])
    with pytest.raises(h5s.ConfigError, match="genes must be a list of names, not 'abc'"):
        length(paths, "abc")


def test_a_state_knows_its_genes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5ad", [0] * N, ["B"])

    def stream(genes: list[str]) -> h5s.H5Stream:
        return h5s.H5Stream(path, ["X"], batch_size=2, convention_options={"genes": genes})

    first = stream(["a", "b"])
    next(iter(first))
    for genes in (["b", "a"], ["a", "b"]):
        other = stream(genes)
        other.load_state_dict(first.state_dict())
        expected = pytest.raises(h5s.StateError) if genes[0] == "b" else contextlib.nullcontext()
        with expected:
            assert len(list(other)) == 1
