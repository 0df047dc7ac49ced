"""What conventions say, streamed, is what the slow oracle reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.columns import Sparse
from h5stream.conventions import recognise
from h5stream.fields import window_rows
from tests.conventions.evaluate import evaluate_all
from tests.conventions.test_golden import (
    SLICED_PLAIN,
    TORCH,
    WINDOWED,
    assert_window,
    torch_id,
    torch_subset,
    unflatten,
)
from tests.golden import GOLDEN, same
from tests.places import Place

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "h5torch": [{}, {"sampling": 1}, {"sampling": "coo"}, {"window_size": 3, "overlap": 1}],
    "h5mapper": [{}, {"by": "whole"}],
    "blog": [{}],
}


def is_fitting(path: Path, options: dict[str, Any]) -> bool:
    """Say whether a file has a convention, and can be asked in this way."""
    with h5py.File(path) as file:
        known = recognise(file)
        try:
            return known is not None and bool(known.default_fields(file, **options))
        except h5s.ConfigError:
            return False


ALL = [
    (path, options)
    for folder, choices in OPTIONS.items()
    for path in sorted((GOLDEN / folder).glob("*.h5"))
    for options in choices
]
FITTING = [case for case in ALL if is_fitting(*case)]
OTHERS = [case for case in ALL if case not in FITTING and case[1]]


def case_id(value: Any) -> str:
    return value.stem if isinstance(value, Path) else str(value)


def oracle(path: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    with h5py.File(path) as file:
        known = recognise(file)
        assert known is not None
        return evaluate_all(file, known.default_fields(file, **options))


def test_most_ways_to_ask_fit() -> None:
    assert (len(FITTING), len(OTHERS)) == (23, 13)


@pytest.mark.parametrize(("path", "options"), FITTING, ids=case_id)
def test_streamed_samples_are_those_of_the_oracle(
    place: Place, path: Path, options: dict[str, Any]
) -> None:
    expected = oracle(path, options)
    found = list(h5s.H5Stream(place(path), output="numpy", convention_options=options))
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        assert same(mine, theirs)


@pytest.mark.parametrize(("path", "options"), FITTING, ids=case_id)
def test_shuffled_samples_are_the_same(path: Path, options: dict[str, Any]) -> None:
    stream = h5s.H5Stream(
        path, output="numpy", shuffle=True, buffer_size=4, convention_options=options
    )
    left = oracle(path, options)
    for mine in stream:
        at = next(i for i, theirs in enumerate(left) if same(mine, theirs))
        left.pop(at)
    assert not left


@pytest.mark.parametrize(("path", "options"), OTHERS, ids=case_id)
def test_ways_to_ask_that_do_not_fit_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(h5s.ConfigError):
        next(iter(h5s.H5Stream(path, convention_options=options)))


@pytest.mark.parametrize("name", ["h5torch", "AnnData"])
def test_a_convention_that_a_file_does_not_follow_is_refused(name: str) -> None:
    with pytest.raises(h5s.ConfigError, match=f"is no file of {name}"):
        next(iter(h5s.H5Stream(GOLDEN / "blog" / "images.h5", convention=name)))


def test_unknown_conventions_and_options_without_one_are_refused() -> None:
    path = GOLDEN / "blog" / "images.h5"
    with pytest.raises(h5s.ConfigError, match="convention must be"):
        next(iter(h5s.H5Stream(path, convention="h5torchh")))
    with pytest.raises(h5s.ConfigError, match="those of a convention"):
        next(iter(h5s.H5Stream(path, convention_options={"sampling": 1})))


def test_without_a_convention_files_are_plain_datasets() -> None:
    path = GOLDEN / "h5torch" / "nd.h5"
    with h5py.File(path) as file:
        stored = file["0/half"].dtype
    sample = next(iter(h5s.H5Stream(path, ["0/half"], convention=None, output="numpy")))
    assert sample["0/half"].dtype == stored
    assert next(iter(h5s.H5Stream(path, ["0/half"], output="numpy")))["0/half"].dtype != stored


def streamed_subset(path: Path, fields: Any, subset: Any, **options: Any) -> list[dict[str, Any]]:
    return list(
        h5s.H5Stream(path, fields, subset=subset, output="numpy", convention_options=options)
    )


@pytest.mark.parametrize("options", [{}, {"by": "whole"}], ids=["by id", "whole"])
def test_a_column_that_is_not_streamed_chooses_rows_of_its_sources(options: dict[str, Any]) -> None:
    path = GOLDEN / "h5mapper" / "experiment.h5"
    found = streamed_subset(path, ["data/images"], {"lab": 2}, **options)
    both = streamed_subset(path, ["data/images", "lab"], None, **options)
    expected = [{"data/images": sample["data/images"]} for sample in both if sample["lab"] == 2]
    assert len(expected) == 2
    assert same(found, expected)


def test_a_column_of_other_sources_chooses_no_rows(tmp_path: Path) -> None:
    # Both features have two sources, but not the same two.
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["__src__/id"] = ["a", "b", "c"]
        for name, sources in (("wave", (0, 1)), ("label", (1, 2))):
            array = file.create_dataset(f"{name}/__arr__", data=np.arange(2))
            table = file.create_dataset(f"{name}/__ref__", (3,), h5py.regionref_dtype)
            for row, source in enumerate(sources):
                table[source] = array.regionref[row : row + 1]
    with pytest.raises(h5s.ConfigError, match="'label' has 1 rows, but there are 2"):
        streamed_subset(tmp_path / "a.h5", ["wave"], {"label": 0})


def test_patterns_choose_sources_by_their_ids() -> None:
    found = streamed_subset(
        GOLDEN / "h5mapper" / "experiment.h5", None, {"__src__/id": re.compile("planes/")}
    )
    assert [sample["data/name"] for sample in found] == ["00.jpeg", "01.jpeg", "02.jpeg"]


def streamed(case: dict[str, Any], **options: Any) -> h5s.H5Stream:
    """Stream a file of h5torch with the sampling of a golden case."""
    sampling = case["kwargs"].get("sampling")
    chosen = {} if sampling is None else {"sampling": sampling}
    path = GOLDEN / "h5torch" / case["file"]
    return h5s.H5Stream(path, output="numpy", convention_options=chosen, **options)


def as_stored(sample: dict[str, Any]) -> dict[str, Any]:
    """Give rows the form that h5torch gives them: plain arrays, of their own shape."""
    plain = {
        name: value.dense()[0] if isinstance(value, Sparse) else value
        for name, value in sample.items()
    }
    return unflatten(plain)


def rows_of(batch: dict[str, Any]) -> list[dict[str, Any]]:
    rows = zip(*batch.values(), strict=True)
    return [as_stored(dict(zip(batch, row, strict=True))) for row in rows]


@pytest.mark.parametrize("case", [c for c in TORCH if c["cls"] == "Dataset"], ids=torch_id)
def test_streamed_subsets_are_those_of_h5torch(case: dict[str, Any]) -> None:
    found = list(map(as_stored, streamed(case, subset=torch_subset(case["kwargs"]))))
    assert len(found) == case["len"]
    for sample in case["samples"]:
        assert same(found[sample["index"]], sample["value"])


@pytest.mark.parametrize("case", SLICED_PLAIN, ids=torch_id)
def test_streamed_windows_are_those_of_h5torch(case: dict[str, Any]) -> None:
    path = GOLDEN / "h5torch" / case["file"]
    found = list(h5s.H5Stream(path, output="numpy", convention_options=case["kwargs"]))
    assert len(found) == case["len"]
    for sample in case["samples"]:
        assert same(found[sample["index"]], sample["value"])


@pytest.mark.parametrize("case", WINDOWED, ids=torch_id)
def test_streamed_window_batches_are_those_of_h5torch(case: dict[str, Any]) -> None:
    kwargs = case["kwargs"]
    size, sampling = kwargs["window_size"], kwargs.get("sampling")
    rows = window_rows(len(streamed(case)), size, size - kwargs.get("overlap", 0))
    windows = list(map(rows_of, streamed(case, subset=rows, batch_size=size)))
    assert len(windows) == case["len"]
    for sample in case["samples"]:
        assert_window(windows[sample["index"]], sample["value"], sampling)


@pytest.mark.parametrize("case", WINDOWED, ids=torch_id)
def test_windows_by_random_access_are_those_of_h5torch(case: dict[str, Any]) -> None:
    kwargs = case["kwargs"]
    size, sampling = kwargs["window_size"], kwargs.get("sampling")
    chosen = {} if sampling is None else {"sampling": sampling}
    path = GOLDEN / "h5torch" / case["file"]
    dataset = h5s.Dataset(path, collate=dict, convention_options=chosen)
    rows = window_rows(len(dataset), size, size - kwargs.get("overlap", 0)).reshape(-1, size)
    for sample in reversed(case["samples"]):
        window = rows_of(dataset.batch(rows[sample["index"]]))
        assert_window(window, sample["value"], sampling)


REAL = "X", "raw/X", "obs/louvain", "obs/phase", "obs/bulk_labels", "obs/n_genes", "obs/index"


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_real_cells_are_those_that_h5py_shows(shuffle: bool) -> None:
    stream = h5s.H5Stream(h5s.example_file(), REAL, batch_size=64, shuffle=shuffle, output="numpy")
    rows = [row for batch in stream for row in rows_of(batch)]
    with h5py.File(h5s.example_file()) as file:
        expected = {str(row["obs/index"]): row for row in real_cells(file)}
    assert len(rows) == len(expected) == 700
    for row in rows:
        assert same(row, expected[str(row["obs/index"])])
    in_order = [str(row["obs/index"]) for row in rows] == list(expected)
    assert in_order != shuffle


def real_cells(file: h5py.File) -> Iterator[dict[str, Any]]:
    """Read the cells with h5py alone."""
    obs, n_columns = file["obs"][()], int(file["raw.X"].attrs["h5sparse_shape"][1])
    data, indices, indptr = (file["raw.X"][name][()] for name in ("data", "indices", "indptr"))
    known = {
        name: file[f"uns/{name}_categories"][()].astype(str)
        for name in ("louvain", "phase", "bulk_labels")
    }
    for number, x in enumerate(file["X"][()]):
        raw, own = np.zeros(n_columns, data.dtype), slice(indptr[number], indptr[number + 1])
        raw[indices[own]] = data[own]
        texts = {f"obs/{name}": str(texts[obs[name][number]]) for name, texts in known.items()}
        index = np.str_(obs["index"][number].decode())
        yield {"X": x, "raw/X": raw, **texts, "obs/n_genes": obs["n_genes"][number]} | {
            "obs/index": index
        }
