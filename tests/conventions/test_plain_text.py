from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.columns import Ragged
from h5stream.conventions import Wanted
from h5stream.conventions.plain_text import from_plain, to_plain


@pytest.mark.parametrize("name", ["cells", "climate"])
def test_what_is_chosen_in_a_file_comes_back_the_same(name: str) -> None:
    with h5py.File(h5s.example_file(name)) as file:
        choice = Wanted().choose(file)
    said = json.loads(json.dumps(to_plain(choice)))
    assert to_plain(from_plain(said)) == to_plain(choice)
    assert list(from_plain(said).specs) == list(choice.specs)


@pytest.mark.parametrize(
    "value",
    [
        (1, 2.5, "a", None, True, float("inf")),
        {"a": [1, (2,)], 3: ()},
        h5s.Slices("x", 3, starts={"f": [1, 2]}),
    ],
    ids=str,
)
def test_plain_values_come_back_equal(value: Any) -> None:
    back = from_plain(json.loads(json.dumps(to_plain(value))))
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("dtype", ["i4", ">f8", "S3", "U2", "?", "c8"])
def test_arrays_come_back_as_they_were(dtype: str) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    back = from_plain(json.loads(json.dumps(to_plain(array))))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_columns_of_text_come_back_as_they_were() -> None:
    column = Ragged.from_rows(["a", "", "ö"])
    back = from_plain(json.loads(json.dumps(to_plain(column))))
    assert list(back) == ["a", "", "ö"]


@pytest.mark.parametrize(
    "value", [object(), {"a": np.array([None])}, Path("x")], ids=["object", "array", "path"]
)
def test_what_might_come_back_as_something_else_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="not written down"):
        to_plain(value)
