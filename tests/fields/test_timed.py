"""Windows in time, against a look at each timestamp."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import h5stream as h5s
from h5stream.fields.timed import Timed, find_slices

TIMES = st.lists(st.integers(0, 40), max_size=30).map(lambda some: np.sort(some) / 4)


@given(st.lists(TIMES, min_size=1, max_size=3), st.data())
def test_windows_at_regular_steps_hold_what_lies_in_them(
    times: list[np.ndarray], data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, 9)) / 4
    specs = [
        h5s.TimeSlices(
            "x",
            "t",
            length=data.draw(st.integers(1, 12)) / 4,
            stride=stride,
            shift=data.draw(st.integers(-6, 6)) / 4,
        )
        for _ in times
    ]
    timed = {
        str(key): Timed(spec, own, "t")
        for key, (spec, own) in enumerate(zip(specs, times, strict=True))
    }
    found = find_slices(timed)
    starts = found["0"][1]
    for spec, own, (slices, begins) in zip(specs, times, found.values(), strict=True):
        assert (begins == starts).all()
        for begin, first, last in zip(begins, slices.starts, slices.stops, strict=True):
            low, high = begin + spec.shift, begin + spec.shift + spec.length
            assert own[0] <= low
            assert high <= own[-1]
            assert own[first:last].tolist() == own[(own >= low) & (own < high)].tolist()
    if len(starts):
        reach = min(own[-1] - s.shift - s.length for s, own in zip(specs, times, strict=True))
        assert starts[-1] + stride > reach
        assert (np.diff(starts) == stride).all()


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Two recordings of spikes and of a slower signal, with trials."""
    rng = np.random.default_rng(0)
    for number in range(2):
        with h5py.File(tmp_path / f"session_{number}.h5", "w") as file:
            spikes = np.sort(rng.random(410 + number) * 20)
            file.create_dataset("spikes/t", data=spikes, chunks=(50,), compression="gzip")
            file.create_dataset("spikes/unit", data=rng.integers(0, 9, len(spikes)), chunks=(50,))
            file["lfp/t"] = np.arange(0, 20, 0.05)
            file["lfp/x"] = rng.random((400, 2))
            trials = np.zeros(6, [("start", "f8"), ("end", "f8")])
            trials["start"] = np.sort(rng.random(6) * 15)
            trials["end"] = trials["start"] + rng.random(6) * 4
            file["trials"], file["target"] = trials, np.arange(6) + 10 * number
    return tmp_path


@pytest.mark.parametrize("options", [{}, {"shuffle": True, "buffer_size": 3}], ids=str)
def test_trials_hold_the_events_of_their_time(session: Path, options: dict[str, Any]) -> None:
    trial = {"starts": "trials[start]", "stops": "trials[end]"}
    fields = {
        "unit": h5s.TimeSlices("spikes/unit", "spikes/t", **trial),
        "t": h5s.TimeSlices("spikes/t", "spikes/t", **trial),
        "lfp": h5s.TimeSlices(h5s.Dense("lfp/x", dtype="f4"), "lfp/t", **trial, shift=-0.5),
        "target": "target",
        "start": h5s.Origin("start"),
    }
    rows = list(h5s.H5Stream(session / "*.h5", fields, output="numpy", **options))
    assert sorted(int(row["target"]) for row in rows) == [*range(6), *range(10, 16)]
    for row in rows:
        file_number, trial_number = divmod(int(row["target"]), 10)
        with h5py.File(session / f"session_{file_number}.h5") as file:
            start, end = file["trials"][trial_number]
            inside = (file["spikes/t"][()] >= start) & (file["spikes/t"][()] < end)
            before = (file["lfp/t"][()] >= start - 0.5) & (file["lfp/t"][()] < end - 0.5)
            assert row["start"] == start
            assert np.array_equal(row["unit"], file["spikes/unit"][inside])
            assert np.array_equal(row["t"], file["spikes/t"][inside])
            assert np.array_equal(row["lfp"], file["lfp/x"][before].astype("f4"))


def test_times_are_given_by_file(session: Path) -> None:
    starts = {"session_1.h5": [3.0, 1.0], "session_0.h5": [0.0]}
    field = h5s.TimeSlices("lfp/t", "lfp/t", length=0.2, starts=starts)
    rows = [row["x"] for row in h5s.H5Stream(session / "*.h5", {"x": field}, output="numpy")]
    assert [len(row) for row in rows] == [4, 4, 4]
    assert np.allclose([row[0] for row in rows], [0, 3, 1])


def test_slices_say_where_they_begin(session: Path) -> None:
    fields = {
        "x": h5s.Slices("lfp/x", 100, stride=90, shift=5),
        "y": h5s.Slices("lfp/x", 10, stride=90),
        "start": h5s.Origin("start"),
    }
    rows = list(h5s.H5Stream(session / "session_0.h5", fields))
    assert [int(row["start"]) for row in rows] == [0, 90, 180, 270]
    given_ = {"x": h5s.Slices("lfp/x", 10, starts=[7, 3]), "start": h5s.Origin("start")}
    rows = list(h5s.H5Stream(session / "session_0.h5", given_))
    assert [int(row["start"]) for row in rows] == [7, 3]
    with pytest.raises(h5s.ConfigError, match="rows are no slices"):
        len(h5s.H5Stream(session / "session_0.h5", {"x": "lfp/x", "start": h5s.Origin("start")}))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (h5s.TimeSlices("lfp/x", "spikes/t", length=1, stride=1), "one timestamp for each of 400"),
        (h5s.TimeSlices("lfp/x", "lfp/x", length=1, stride=1), "one timestamp for each of 400"),
        (h5s.TimeSlices("lfp/x", "lfp/t", length=1), "a length and a stride"),
        (h5s.TimeSlices("lfp/x", "lfp/t", starts=[1.0]), "a length and a stride"),
        (h5s.TimeSlices("lfp/x", "lfp/t", length=0, stride=1), "above zero"),
        (h5s.TimeSlices("lfp/x", "lfp/t", length=1, starts=[np.nan]), "finite times"),
        (h5s.TimeSlices("lfp/x", "lfp/t", starts=[2.0], stops=[1.0]), "goes from 2.0 to 1.0"),
        (h5s.TimeSlices("lfp/x", "lfp/t", starts=[2.0], stops=[3.0, 4.0]), "1 starts but 2 stops"),
        (h5s.TimeSlices("spikes/unit", "spikes/unit", length=1, stride=1), "decreases at element"),
        (h5s.TimeSlices(h5s.Grouped("*/x"), "lfp/t", length=1, stride=1), "cut from one dataset"),
        (h5s.TimeSlices("lfp/x", "lfp/t", length=99, stride=1), "nothing is left"),
    ],
    ids=str,
)
def test_windows_that_are_not_said_well_are_refused(session: Path, field: Any, said: str) -> None:
    with pytest.raises((h5s.ConfigError, h5s.LayoutError)) as error:
        len(h5s.H5Stream(session / "session_0.h5", {"x": field}))
    assert said in str(error.value)


def test_times_for_several_files_are_not_guessed(session: Path) -> None:
    field = h5s.TimeSlices("lfp/x", "lfp/t", starts=[1.0], length=1)
    with pytest.raises(h5s.ConfigError, match="given once for 2 files"):
        len(h5s.H5Stream(session / "*.h5", {"x": field}))


def test_windows_of_one_length_stay_inside_intervals(session: Path) -> None:
    by_number = h5s.Slices("lfp/x", starts="bounds", counts_from=1, inclusive=True)
    by_time = h5s.TimeSlices("lfp/x", "lfp/t", starts="trials[start]", stops="trials[end]")
    for number in range(2):
        with h5py.File(session / f"session_{number}.h5", "a") as file:
            places = np.stack([file["trials"]["start"], file["trials"]["end"]], 1) / 0.05
            file["bounds"] = np.ceil(places).astype(int) + np.array([1, 0])
    for base in (by_number, by_time):
        fields = {"x": h5s.Slices(base, 12, stride=5), "target": "target"}
        fields["start"] = h5s.Origin("start")
        expected = []
        for number in range(2):
            with h5py.File(session / f"session_{number}.h5") as file:
                for target, (start, end) in zip(file["target"], file["trials"], strict=True):
                    inside = np.flatnonzero(
                        (file["lfp/t"][()] >= start) & (file["lfp/t"][()] < end)
                    )
                    for at in range(0, len(inside) - 12 + 1, 5):
                        expected.append((target, at, file["lfp/x"][inside[at : at + 12]]))
        rows = list(h5s.H5Stream(session / "*.h5", fields, output="numpy"))
        assert len(rows) == len(expected) > 12
        for row, (target, at, values) in zip(rows, expected, strict=True):
            assert (row["target"], row["start"]) == (target, at)
            assert np.array_equal(row["x"], values)
        anywhere = {**fields, "x": h5s.Slices(base, 12, stride=None, random=True)}
        stream = h5s.H5Stream(session / "*.h5", anywhere, shuffle=True, output="numpy")
        seen = {(int(row["target"]), int(row["start"])) for _ in range(9) for row in stream}
        assert len(seen) > 3 * len(stream)
    twice = h5s.Slices(h5s.Slices("lfp/x", 10), 3)
    with pytest.raises(h5s.ConfigError, match="cut into slices twice"):
        len(h5s.H5Stream(session / "session_0.h5", {"x": twice}))
