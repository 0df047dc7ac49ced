"""Slices around events, which may leave their recording, against numpy's padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s

MODES = {"constant": "constant", "edge": "edge", "reflect": "reflect"}


def around(signal: np.ndarray, start: int, length: int, step: int, padding: Any) -> np.ndarray:
    """Cut one slice out of a padded copy."""
    far = len(signal) - 1
    padded = np.pad(signal, ((far, far), (0, 0)), mode=padding)
    return padded[far + start :][: (length - 1) * step + 1 : step]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    data=st.data(),
    length=st.integers(2, 6),
    step=st.integers(1, 2),
    padding=st.sampled_from(sorted(MODES)),
    shuffle=st.booleans(),
    counts_from=st.integers(0, 1),
)
def test_slices_around_events_are_padded_as_numpy_does(
    tmp_path: Path,
    data: st.DataObject,
    length: int,
    step: int,
    padding: str,
    shuffle: bool,
    counts_from: int,
) -> None:
    span = (length - 1) * step + 1
    shift = -data.draw(st.integers(0, span - 1))
    expected = {}
    for number in range(2):
        n = data.draw(st.integers(2 * span, 40))
        events = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6)))
        signal = np.random.default_rng(n).random((n, 2))
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file.create_dataset("signal", data=signal, chunks=(4, 2))
            file["event"], file["id"] = events + counts_from, np.arange(len(events)) + 100 * number
        for at, event in enumerate(events.tolist()):
            expected[at + 100 * number] = around(signal, event + shift, length, step, padding)
    spec: Any = h5s.Slices(
        "signal",
        length,
        starts="event",
        shift=shift,
        step=step,
        before=span - 1,
        after=span - 1,
        padding=padding,
        counts_from=counts_from,
    )
    fields = {"x": spec, "id": "id", "at": h5s.Origin("start")}
    paths = [tmp_path / "0.h5", tmp_path / "1.h5"]
    stream = h5s.H5Stream(paths, fields, batch_size=3, shuffle=shuffle, output="numpy")
    found = {
        int(name): x for batch in stream for name, x in zip(batch["id"], batch["x"], strict=True)
    }
    assert found.keys() == expected.keys()
    for name, x in found.items():
        np.testing.assert_array_equal(x, expected[name])


def test_each_recording_pads_its_own(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["values"], file["offsets"] = np.arange(20), [0, 10, 20]
        file["event"] = [0, 9, 10, 19]
    spec = h5s.Slices(
        h5s.Ragged("values", "offsets"), 3, starts="event", shift=-1, before=1, after=1
    )
    stream = h5s.H5Stream(tmp_path / "a.h5", {"x": spec, "at": h5s.Origin("start")}, batch_size=4)
    batch = next(iter(stream))
    assert batch["x"].tolist() == [[0, 0, 1], [8, 9, 0], [0, 10, 11], [18, 19, 0]]
    assert batch["at"].tolist() == [0, 9, 10, 19]


def test_a_slice_that_leaves_further_than_was_said_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"], file["event"] = np.arange(20), [1, 19]
    for more in ({}, {"before": 1}):
        spec = h5s.Slices("x", 4, starts="event", shift=-3, **more)
        with pytest.raises(h5s.LayoutError, match="before= and after= pad"):
            next(iter(h5s.H5Stream(tmp_path / "a.h5", {"x": spec})))
    spec = h5s.Slices("x", starts=[1], stops=[3], before=1)
    with pytest.raises(h5s.ConfigError, match="around events write"):
        next(iter(h5s.H5Stream(tmp_path / "a.h5", {"x": spec})))
