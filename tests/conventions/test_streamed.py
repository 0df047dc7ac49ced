"""What conventions say, streamed, is what the slow oracle reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.conventions import recognise
from tests.conventions.evaluate import evaluate_all
from tests.golden import GOLDEN, same

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
def test_streamed_samples_are_those_of_the_oracle(path: Path, options: dict[str, Any]) -> None:
    expected = oracle(path, options)
    found = list(h5s.H5Stream(path, output="numpy", convention_options=options))
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


def streamed(path: Path, fields: Any, subset: Any, **options: Any) -> list[dict[str, Any]]:
    return list(
        h5s.H5Stream(path, fields, subset=subset, output="numpy", convention_options=options)
    )


@pytest.mark.parametrize("options", [{}, {"by": "whole"}], ids=["by id", "whole"])
def test_a_column_that_is_not_streamed_chooses_rows_of_its_sources(options: dict[str, Any]) -> None:
    path = GOLDEN / "h5mapper" / "experiment.h5"
    found = streamed(path, ["data/images"], {"lab": 2}, **options)
    both = streamed(path, ["data/images", "lab"], None, **options)
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
        streamed(tmp_path / "a.h5", ["wave"], {"label": 0})


def test_patterns_choose_sources_by_their_ids() -> None:
    found = streamed(
        GOLDEN / "h5mapper" / "experiment.h5", None, {"__src__/id": re.compile("planes/")}
    )
    assert [sample["data/name"] for sample in found] == ["00.jpeg", "01.jpeg", "02.jpeg"]
