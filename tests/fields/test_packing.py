"""Packed numbers of netCDF files: decoded, and told of where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from typer.testing import CliRunner

import h5stream as h5s
from h5stream.cli import app
from h5stream.layout import Packing, scan_file

NAN = float("nan")


def write(path: Path, values: Any, attributes: dict[str, Any], **options: Any) -> str:
    with h5py.File(path, "w") as file:
        x = file.create_dataset("x", data=values, **options)
        for name, value in attributes.items():
            x.attrs[name] = value
    return str(path)


def packing_of(path: str) -> Packing | None:
    return scan_file(path, ["x"]).datasets["x"].packing


def read(path: str, spec: Any, **options: Any) -> np.ndarray:
    stream = h5s.H5Stream(path, {"x": spec}, batch_size=5, output="numpy", **options)
    return np.concatenate([batch["x"] for batch in stream])


STORED = ["i1", "i2", "<i4", ">i2", "u1", "u2", "f4", ">f8"]


@given(
    stored=st.sampled_from(STORED),
    scale=st.sampled_from([None, np.float32(0.25), np.float64(0.01)]),
    offset=st.sampled_from([None, np.float32(100), np.float64(273.15)]),
    mark=st.booleans(),
    chunks=st.sampled_from([None, (4, 2)]),
    data=st.data(),
)
def test_numbers_are_what_the_attributes_make_of_them(
    tmp_path_factory: pytest.TempPathFactory,
    stored: str,
    scale: Any,
    offset: Any,
    mark: bool,
    chunks: Any,
    data: st.DataObject,
) -> None:
    kind = np.dtype(stored)
    values = data.draw(hn.arrays(kind, (11, 2), elements=st.integers(0, 100).map(kind.type)))
    attributes = {"scale_factor": scale, "add_offset": offset}
    attributes = {name: value for name, value in attributes.items() if value is not None}
    if mark:
        attributes["_FillValue"] = values[3, 1]
    path = write(tmp_path_factory.mktemp("p") / "a.h5", values, attributes, chunks=chunks)
    found = read(path, h5s.Dense("x", decode_cf=True))
    if not attributes:
        assert packing_of(path) is None
        np.testing.assert_array_equal(found, values)
        return
    # One number after the other, by Python's own floats.
    for number, decoded in zip(values.reshape(-1), found.reshape(-1), strict=True):
        if mark and number == values[3, 1]:
            assert np.isnan(decoded)
        else:
            exact = float(number) * float(scale or 1) + float(offset or 0)
            assert decoded == pytest.approx(exact, rel=4e-7)
    assert found.dtype == expected_type(kind, [scale, offset])


def expected_type(stored: np.dtype[Any], factors: list[Any]) -> np.dtype[Any]:
    wide = stored.itemsize > 4 or (stored.kind in "iu" and stored.itemsize > 2)
    double = any(isinstance(factor, np.float64) for factor in factors)
    return np.dtype("f8" if wide or double else "f4")


def test_all_ways_of_reading_decode(tmp_path: Path) -> None:
    values = np.arange(-6, 54, dtype="i2").reshape(20, 3)
    attributes = {"scale_factor": 0.5, "add_offset": 10.0, "missing_value": np.int16([0, 7])}
    expected = np.where(np.isin(values, [0, 7]), np.nan, values * 0.5 + 10)
    for number, options in enumerate(
        [{}, {"chunks": (3, 3), "compression": "gzip"}, {"chunks": (3, 3), "scaleoffset": 0}]
    ):
        path = write(tmp_path / f"{number}.h5", values, attributes, **options)
        spec = h5s.Dense("x", decode_cf=True)
        np.testing.assert_array_equal(read(path, spec), expected)
        drawn = read(path, spec, shuffle=True, seed=1)
        np.testing.assert_array_equal(np.sort(drawn[:, 0]), np.sort(expected[:, 0]))
        slices = read(path, h5s.Slices(spec, length=2, stride=3))
        np.testing.assert_array_equal(slices[2], expected[6:8])
        narrow = read(path, h5s.Dense("x", dtype="f4", decode_cf=True))
        np.testing.assert_array_equal(narrow, expected.astype("f4"))
        one = h5s.Dataset(path, {"x": spec})[2]["x"]
        np.testing.assert_array_equal(np.asarray(one), expected[2])


def test_datasets_that_are_rows_of_one_field_are_each_decoded_their_own_way(
    tmp_path: Path,
) -> None:
    path = tmp_path / "g.h5"
    with h5py.File(path, "w") as file:
        for n in range(4):
            file[f"g{n}/x"] = np.arange(3, dtype="i2")
            file[f"g{n}/x"].attrs["scale_factor"] = 0.5 * (n + 1)
            file[f"g{n}/s"] = np.int16(n)
            file[f"g{n}/s"].attrs["add_offset"] = 10.0
        file["all"] = np.arange(6, dtype="i2")
        file["all"].attrs["scale_factor"] = 2.0
        file["ends"] = np.array([0, 2, 6])
    found = read(str(path), h5s.Grouped("g*/x", decode_cf=True))
    np.testing.assert_array_equal(found, [[0, 0.5 * n, n] for n in (1, 2, 3, 4)])
    assert read(str(path), h5s.Grouped("g*/s", decode_cf=True)).tolist() == [10, 11, 12, 13]
    ragged = h5s.H5Stream(
        path, {"x": h5s.Ragged("all", "ends", decode_cf=True)}, batch_size=2, output="numpy"
    )
    assert next(iter(ragged))["x"].values.tolist() == [0, 2, 4, 6, 8, 10]


def test_constants_are_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.nc", np.int16([4, -1, 6]), {"scale_factor": 0.5, "_FillValue": -1})
    with h5py.File(path, "a") as file:
        file["t"] = np.arange(3)
        file["bad"] = np.int16([1])
        file["bad"].attrs["scale_factor"] = "two"

    def constant(name: str, **options: Any) -> Any:
        fields = {"c": h5s.Constant(name, **options), "t": "t"}
        return next(iter(h5s.H5Stream(path, fields, output="numpy")))["c"]

    assert np.array_equal(constant("x", decode_cf=True), [2.0, NAN, 3.0], equal_nan=True)
    assert constant("x").tolist() == [4, -1, 6]
    assert constant("t", decode_cf=True).tolist() == [0, 1, 2]
    found = constant("x", decode_cf=True, dtype="f4")
    assert found.dtype == np.float32
    with pytest.raises(h5s.UnsupportedError, match="'bad' cannot be decoded"):
        constant("bad", decode_cf=True)
    with pytest.raises(h5s.ConfigError, match="is for datasets"):
        constant("x", attribute="scale_factor", decode_cf=True)


def test_numbers_without_a_sign_are_meant_so(tmp_path: Path) -> None:
    attributes = {"_Unsigned": np.bytes_(b"true"), "scale_factor": 2.0}
    path = write(tmp_path / "u.h5", np.array([1, -1, -128], "i1"), attributes)
    assert read(path, h5s.Dense("x", decode_cf=True)).tolist() == [2.0, 510.0, 256.0]


def test_integers_that_no_float_holds_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5", np.array([1, 2**60 + 1, -1]), {"_FillValue": np.int64(-1)})
    with pytest.raises(h5s.ConfigError, match=r"'x' has the value 1152921504606846977, which"):
        read(path, h5s.Dense("x", decode_cf=True))
    path = write(tmp_path / "v.h5", np.array([1, 2**60 + 1]), {"_FillValue": np.int64(2**60 + 1)})
    np.testing.assert_array_equal(read(path, h5s.Dense("x", decode_cf=True)), [1, NAN])


ODD = [
    {"scale_factor": "0.1"},
    {"scale_factor": [0.1, 0.2]},
    {"add_offset": np.inf},
    {"_FillValue": "none"},
    {"_Unsigned": "true"},
]


@pytest.mark.parametrize("attributes", ODD, ids=lambda each: next(iter(each)))
def test_attributes_that_cannot_be_followed_are_told(
    tmp_path: Path, attributes: dict[str, Any]
) -> None:
    path = write(tmp_path / "o.h5", np.arange(4, dtype="i2"), attributes)
    with pytest.raises(h5s.UnsupportedError, match=r"'/x' cannot be decoded: .*decode_cf"):
        read(path, h5s.Dense("x", decode_cf=True))
    assert read(path, "x").tolist() == [0, 1, 2, 3]
    assert "comes out as it is stored" in str(h5s.H5Stream(path, ["x"], batch_size=2).explain())


def test_packed_numbers_that_are_not_decoded_are_told(tmp_path: Path) -> None:
    attributes = {"scale_factor": 0.5, "_FillValue": np.int16(-1)}
    path = write(tmp_path / "a.h5", np.arange(4, dtype="i2"), attributes)
    told = "scale_factor 0.5 and add_offset 0, missing values -1"
    explained = str(h5s.H5Stream(path, batch_size=2).explain())
    assert f"'x' comes out as it is stored, but '/x' has {told}: decode_cf=True" in explained
    decoded = {"x": h5s.Dense("x", decode_cf=True)}
    assert "as it is stored" not in str(h5s.H5Stream(path, decoded, batch_size=2).explain())
    inspected = CliRunner().invoke(app, ["inspect", path]).output
    assert f"without decode_cf=True: {told}" in inspected


def test_saved_layouts_keep_the_packing(tmp_path: Path) -> None:
    attributes = {"scale_factor": np.float32(0.5), "_FillValue": np.int16(-1)}
    path = write(tmp_path / "a.h5", np.arange(-1, 4, dtype="i2"), attributes)
    h5s.index_files(path, tmp_path / "layouts.h5s")
    found = read(path, h5s.Dense("x", decode_cf=True), layout=tmp_path / "layouts.h5s")
    np.testing.assert_array_equal(found, np.float32([NAN, 0, 0.5, 1, 1.5]))


def test_the_example_of_climate_is_decoded() -> None:
    path = h5s.example_file("climate")
    with h5py.File(path) as file:
        expected = file["noy"][...]
    expected[expected == np.float32(1e20)] = NAN
    np.testing.assert_array_equal(read(str(path), h5s.Dense("noy", decode_cf=True)), expected)
    assert "missing values 1e+20" in str(h5s.H5Stream(path, ["noy"], batch_size=4).explain())
