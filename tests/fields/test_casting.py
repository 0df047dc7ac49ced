"""What a conversion may do to values, against Python's own numbers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

import h5stream as h5s
from h5stream.fields.casting import find_loss

TYPES = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]


def keeps(value: Any, to: np.dtype[Any]) -> bool:
    """Say by Python's numbers whether a value survives; floats may be rounded to floats."""
    if value.dtype.kind == "c" and to.kind != "c":
        return value.imag == 0 and keeps(value.real, to)
    with np.errstate(all="ignore"):
        found = np.array([value]).astype(to)[0]
    mine, other = value.item(), found.item()
    if value.dtype.kind in "fc" and to.kind in "fc":
        pairs = [(mine.real, other.real), (mine.imag, other.imag)]
        return all(math.isinf(b) <= (not math.isfinite(a)) for a, b in pairs)
    return bool(mine == other)


@given(data=st.data(), stored=st.sampled_from(TYPES), to=st.sampled_from(TYPES))
def test_a_loss_is_found_where_a_value_does_not_survive(
    data: st.DataObject, stored: str, to: str
) -> None:
    kind = np.dtype(stored)
    values = data.draw(hn.arrays(kind, 3, elements=hn.from_dtype(kind)))
    lost = find_loss(values, np.dtype(to))
    assert (lost is None) == all(keeps(value, np.dtype(to)) for value in values)


def write(path: Path, **columns: Any) -> str:
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return str(path)


LOSSES = [
    pytest.param([127, 128, 300], "i1", "300", id="wraps"),
    pytest.param([1.0, np.nan], "i4", "nan", id="nan"),
    pytest.param([1.0, 2.5], "i4", "2.5", id="fraction"),
    pytest.param([2**60 + 1], "f8", "1152921504606846977", id="integer beyond a float"),
    pytest.param([1e300], "f4", "1e\\+300", id="overflow"),
]


@pytest.mark.parametrize(("values", "dtype", "shown"), LOSSES)
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_loss_names_the_field_and_the_value(
    tmp_path: Path, values: Any, dtype: str, shown: str, shuffle: bool
) -> None:
    path = write(tmp_path / "a.h5", x=np.array(values))
    fields = {"x": h5s.Dense("x", dtype=dtype)}
    with pytest.raises(h5s.ConfigError, match=rf"a\.h5: field 'x' has the value {shown}, which"):
        list(h5s.H5Stream(path, fields, batch_size=8, shuffle=shuffle))
    unsafe = {"x": h5s.Dense("x", dtype=dtype, casting="unsafe")}
    with np.errstate(all="ignore"):
        (batch,) = h5s.H5Stream(path, unsafe, batch_size=8, output="numpy")
        np.testing.assert_array_equal(batch["x"], np.array(values).astype(dtype))


def test_rounding_to_a_narrower_float_is_what_was_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.array([0.1, np.nan, np.inf]))
    (batch,) = h5s.H5Stream(path, {"x": h5s.Dense("x", dtype="f4")}, batch_size=8, output="numpy")
    np.testing.assert_array_equal(batch["x"], np.float32([0.1, np.nan, np.inf]))


def test_an_unknown_casting_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", x=np.arange(3))
    odd: Any = "maybe"
    with pytest.raises(h5s.ConfigError, match="casting must be one of"):
        len(h5s.H5Stream(path, {"x": h5s.Dense("x", dtype="f4", casting=odd)}))


def test_elements_of_variable_length_and_scalars_are_checked_too(tmp_path: Path) -> None:
    path = tmp_path / "v.h5"
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("v", 2, h5py.vlen_dtype(np.int32))
        rows[0], rows[1] = [1, 2], [300]
        for name, value in (("a", 1), ("b", 300)):
            file[f"g/{name}/n"] = value
    for spec in (h5s.Vlen("v", dtype="i1"), h5s.Grouped("g/*/n", dtype="i1")):
        with pytest.raises(h5s.ConfigError, match=r"field 'x' has the value 300, which int8"):
            list(h5s.H5Stream(path, {"x": spec}, batch_size=8))
    unsafe = {
        "v": h5s.Vlen("v", dtype="i1", casting="unsafe"),
        "n": h5s.Grouped("g/*/n", dtype="i1", casting="unsafe"),
    }
    for name, expected in (("v", [1, 2, 44]), ("n", [1, 44])):
        (batch,) = h5s.H5Stream(path, {"x": unsafe[name]}, batch_size=8, output="numpy")
        found = batch["x"].values if name == "v" else batch["x"]
        assert found.tolist() == expected
        assert found.dtype == np.int8
