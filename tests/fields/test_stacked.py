"""Slices along an axis inside rows, against NumPy, and what is read for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s


def windows_of(
    data: np.ndarray, axis: int, length: int, stride: int, step: int, shift: int
) -> list[np.ndarray]:
    """Cut windows out of each row, one after the other."""
    span = (length - 1) * step + 1
    reach = span + max(shift, 0)
    return [
        np.moveaxis(row, axis - 1, 0)[at + shift : at + shift + span : step]
        for row in data
        for at in range(max(0, -shift), row.shape[axis - 1] - reach + 1, stride)
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_windows_inside_rows_are_those_of_numpy(tmp_path: Path, data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 7), min_size=2, max_size=4), "shape")
    axis = data.draw(st.integers(1, len(shape) - 1), "axis")
    length = data.draw(st.integers(1, shape[axis]), "length")
    step = data.draw(st.integers(1, 2), "step")
    stride = data.draw(st.integers(1, 3), "stride")
    values = np.arange(np.prod(shape)).reshape(shape)
    expected = windows_of(values, axis, length, stride, step, 0)
    if not expected:
        return
    chunks = data.draw(st.none() | st.tuples(*(st.integers(1, size) for size in shape)), "chunks")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        kinds = [{}, {"compression": "gzip"}, {"scaleoffset": 0}]
        more = data.draw(st.sampled_from(kinds), "filters") if chunks else {}
        file.create_dataset("x", data=values, chunks=chunks, **more)
        file["run"] = np.arange(shape[0])
    window = h5s.Slices("x", length, stride=stride, step=step, axis=axis)
    for options in ({}, {"shuffle": True, "buffer_size": data.draw(st.integers(1, 9))}):
        stream = h5s.H5Stream(path, {"x": window, "run": "run"}, output="numpy", **options)
        rows = [(int(row["run"]), row["x"]) for row in stream]
        assert len(rows) == len(expected)
        if not options:
            assert all(np.array_equal(x, y) for (_run, x), y in zip(rows, expected, strict=True))
        assert all((x.reshape(-1) // np.prod(shape[1:]) == run).all() for run, x in rows)
        assert sorted(x.tobytes() for _run, x in rows) == sorted(x.tobytes() for x in expected)
    dataset = h5s.Dataset(path, {"x": window}, collate=dict)
    some = [len(expected) - 1, 0, len(expected) // 2]
    for row, found in zip(some, dataset.batch(some)["x"], strict=True):
        assert np.array_equal(found, expected[row])


@pytest.fixture
def well(tmp_path: Path) -> Path:
    """Six simulations of 24 steps, in chunks of several kinds."""
    path = tmp_path / "w.h5"
    data = np.random.default_rng(0).random((6, 24, 8, 10))
    chunks = {
        "steps": (1, 1, 8, 10),
        "few": (1, 6, 8, 10),
        "odd": (4, 5, 3, 4),
        "runs": (4, 24, 8, 5),
    }
    with h5py.File(path, "w") as file:
        file["flat"] = data
        for name, shape in chunks.items():
            file.create_dataset(name, data=data, chunks=shape, compression="gzip")
        file["viscosity"] = np.arange(6)
        file.attrs["dt"] = 0.5
    return path


NAMES = ("flat", "steps", "few", "odd", "runs")


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_targets_come_from_one_run(well: Path, name: str) -> None:
    fields = {
        "x": h5s.Slices(name, 4, axis=1, stride=3),
        "y": h5s.Slices(name, 2, axis=1, stride=3, shift=4),
        "viscosity": "viscosity",
        "dt": h5s.Constant("/", "dt"),
    }
    with h5py.File(well) as file:
        data = file["flat"][()]
    expected = [(run, at) for run in range(6) for at in range(0, 19, 3)]
    rows = list(h5s.H5Stream(well, fields, output="numpy"))
    assert len(rows) == len(expected)
    for (run, at), row in zip(expected, rows, strict=True):
        assert np.array_equal(row["x"], data[run, at : at + 4])
        assert np.array_equal(row["y"], data[run, at + 4 : at + 6])
        assert (row["viscosity"], row["dt"]) == (run, 0.5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("padding", ["constant", "edge", "reflect"])
def test_centred_slices_stay_in_their_run(well: Path, name: str, padding: Any) -> None:
    frames = h5s.Slices(name, 5, axis=1, center=True, padding=padding)
    with h5py.File(well) as file:
        padded = np.pad(file["flat"][()], ((0, 0), (2, 2), (0, 0), (0, 0)), mode=padding)
    expected = [run[at : at + 5] for run in padded for at in range(24)]
    rows = list(h5s.H5Stream(well, {"x": frames}, output="numpy"))
    assert all(np.array_equal(row["x"], each) for row, each in zip(rows, expected, strict=True))


@pytest.mark.parametrize("name", ["flat", "steps", "few"])
def test_a_window_reads_the_chunks_that_it_needs(well: Path, name: str) -> None:
    window = h5s.Slices(name, 6, axis=1)
    stream = h5s.H5Stream(well, {"x": window}, subset=[0], output="numpy")
    assert len(list(stream)) == 1
    with h5py.File(well) as file:
        whole = file[name].id.get_storage_size()
    assert stream.stats()["fetched_bytes"] <= 1.3 * whole * 6 / (24 * 6)


def test_an_epoch_decodes_each_chunk_of_a_window_once(well: Path) -> None:
    stream = h5s.H5Stream(well, {"x": h5s.Slices("odd", 6, axis=1)}, shuffle=True, batch_size=8)
    assert sum(len(batch["x"]) for batch in stream) == 6 * 19
    chunks = 2 * 5 * 3 * 3
    assert stream.stats()["decoded_bytes"] == chunks * 4 * 5 * 3 * 4 * 8


def test_runs_that_are_too_short_are_told(well: Path) -> None:
    stream = h5s.H5Stream(well, {"x": h5s.Slices("flat", 25, axis=1)})
    with pytest.raises(h5s.ConfigError, match="no slice fits into 6 of 6 sequences"):
        len(stream)


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (h5s.Slices("flat", 2, axis=4), "has no axis 4 inside its rows; axis= is one of 1, 2, 3"),
        (h5s.Slices("viscosity", 2, axis=1), "has no axis 1 inside its rows"),
        (h5s.Slices("flat", 2, axis=1, starts=[0]), "at regular steps; leave starts out"),
        (h5s.Slices(h5s.Dense("flat", inner=3), 2, axis=1), "leave that axis whole"),
        (h5s.Slices(h5s.Grouped("*"), 2, axis=1), r"Slices\(Grouped\(pattern, axis=1\)"),
        (h5s.Slices(h5s.Dense("flat", axis=2), 2, axis=1), "cut from one dataset"),
    ],
)
def test_axes_that_cannot_be_cut_are_refused(well: Path, window: Any, said: str) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(well, {"x": window}))


@pytest.mark.parametrize("first", ["flat", "odd", "even"])
def test_files_may_hold_runs_in_chunks_of_their_own(tmp_path: Path, first: str) -> None:
    kinds: dict[str, Any] = {"flat": None, "odd": (2, 5, 3), "even": (3, 4, 3), "long": (2, 9, 2)}
    names = [first, *(name for name in kinds if name != first)]
    data = np.arange(4 * 5 * 9 * 3).reshape(4, 5, 9, 3)
    for number, name in enumerate(names):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("x", data=data[number], chunks=kinds[name])
    paths = [tmp_path / f"{name}.h5" for name in names]
    window = h5s.Slices("x", 3, axis=1, stride=2)
    expected = windows_of(data.reshape(20, 9, 3), 1, 3, 2, 1, 0)
    for options in ({}, {"shuffle": True}):
        stream = h5s.H5Stream(paths, {"x": window}, output="numpy", batch_size=9, **options)
        rows = [row for batch in stream for row in batch["x"]]
        if not options:
            assert all(map(np.array_equal, rows, expected))
        assert sorted(row.tobytes() for row in rows) == sorted(row.tobytes() for row in expected)
