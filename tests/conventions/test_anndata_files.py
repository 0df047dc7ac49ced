"""Several files of AnnData read together: their numbers mean one thing, or they are refused."""

from __future__ import annotations

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
