"""Slices that may leave their sequence, parts of sequences, and episodes between flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s


def padded(row: np.ndarray, start: int, length: int, step: int, padding: str) -> np.ndarray:
    """Take one slice, element by element."""
    elements = []
    for at in range(start, start + length * step, step):
        inside = min(max(at, 0), len(row) - 1)
        elements.append(row[inside] if inside == at or padding == "edge" else row[inside] * 0)
    return np.array(elements)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_slices_beyond_their_sequence_are_padded(tmp_path: Path, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    rows = [np.arange(1, size + 1) + 100 * number for number, size in enumerate(lengths)]
    stride = data.draw(st.integers(1, 3))
    specs = []
    for _field in range(data.draw(st.integers(1, 2))):
        length, step = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
        before, after = (data.draw(st.integers(0, length - 1)) for _end in range(2))
        specs.append(
            h5s.Slices(
                h5s.Grouped("demo_*"),
                length,
                stride=stride,
                step=step,
                shift=data.draw(st.integers(-2, 2)),
                before=before,
                after=after,
                padding=data.draw(st.sampled_from(["constant", "edge"]))
                if before or after
                else "constant",
            )
        )
    least = max(-max(spec.before for spec in specs), *(-s.shift - s.before for s in specs))
    expected = []
    for row in rows:
        start = least
        while all(
            start + s.shift + (s.length - 1) * s.step + 1 <= len(row) + s.after for s in specs
        ):
            cut = [padded(row, start + s.shift, s.length, s.step, s.padding) for s in specs]
            expected.append(cut)
            start += stride
    if not expected:
        return
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for number, row in enumerate(rows):
            file[f"demo_{number}"] = row
    fields = {str(number): spec for number, spec in enumerate(specs)}
    masks = {f"mask {number}": h5s.Mask(spec) for number, spec in enumerate(specs)}
    found = list(h5s.H5Stream(path, {**fields, **masks}, output="numpy"))
    assert len(found) == len(expected)
    for row, cut in zip(found, expected, strict=True):
        for number, values in enumerate(cut):
            assert np.array_equal(row[str(number)], values)
            if specs[number].padding == "constant":
                assert np.array_equal(row[f"mask {number}"], values > 0)


@pytest.fixture
def minari(tmp_path: Path) -> Path:
    """Episodes with one observation more than actions."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        for number, length in enumerate((5, 3, 1)):
            file[f"episode_{number}/observations"] = np.arange(length + 1) + 10 * number
            file[f"episode_{number}/actions"] = np.arange(length) + 10 * number + 100
    return path


def test_observations_are_one_more_than_actions(minari: Path) -> None:
    observations = "episode_*/observations"
    fields = {
        "obs": h5s.Slices(h5s.Grouped(observations, elements=np.s_[:-1]), 2),
        "next_obs": h5s.Slices(h5s.Grouped(observations, elements=np.s_[1:]), 2),
        "action": h5s.Slices(h5s.Grouped("episode_*/actions"), 2),
    }
    rows = list(h5s.H5Stream(minari, fields, shuffle=True, output="numpy"))
    assert len(rows) == 4 + 2
    for row in rows:
        assert np.array_equal(row["action"], row["obs"] + 100)
        assert np.array_equal(row["next_obs"], row["obs"] + 1)
    with pytest.raises(h5s.ConfigError, match="unequal numbers of rows"):
        len(h5s.H5Stream(minari, {**fields, "obs": h5s.Slices(h5s.Grouped(observations), 2)}))


def test_whole_episodes_are_trimmed_too(minari: Path, tmp_path: Path) -> None:
    fields = {"x": h5s.Grouped("episode_*/observations", elements=np.s_[2:])}
    rows = [row["x"].tolist() for row in h5s.H5Stream(minari, fields)]
    assert rows == [[2, 3, 4, 5], [12, 13], []]
    with h5py.File(tmp_path / "n.h5", "w") as file:
        file["episode_0/observations"] = np.arange(4)
    both = [row["x"].tolist() for row in h5s.H5Stream([minari, tmp_path / "n.h5"], fields)]
    assert both == [*rows, [2, 3]]
    every_other = h5s.Grouped("episode_*/actions", elements=np.s_[::2])
    with pytest.raises(h5s.ConfigError, match="a slice without step"):
        len(h5s.H5Stream(minari, {"x": every_other}))


def test_frames_are_stacked_from_the_start_and_actions_chunked_to_the_end(minari: Path) -> None:
    actions = h5s.Grouped("episode_*/actions")
    fields = {
        "history": h5s.Slices(actions, 3, shift=-2, before=2, padding="edge"),
        "chunk": h5s.Slices(actions, 4, after=3, padding="edge"),
        "is_pad": h5s.Mask(h5s.Slices(actions, 4, after=3)),
    }
    rows = list(h5s.H5Stream(minari, fields, output="numpy"))
    assert len(rows) == 5 + 3 + 1
    assert rows[0]["history"].tolist() == [100, 100, 100]
    assert rows[4]["chunk"].tolist() == [104, 104, 104, 104]
    assert rows[3]["is_pad"].tolist() == [True, True, False, False]


def test_flat_arrays_are_cut_into_episodes_by_flags(tmp_path: Path) -> None:
    path = tmp_path / "d4rl.h5"
    with h5py.File(path, "w") as file:
        file["observations"] = np.arange(10)
        file["terminals"] = np.isin(np.arange(10), [2])
        file["timeouts"] = np.isin(np.arange(10), [6]).astype("u1")
        file["short"] = np.zeros(3, np.bool_)
    base = h5s.Ragged("observations", ends=("terminals", "timeouts"))
    rows = [row["x"].tolist() for row in h5s.H5Stream(path, {"x": base})]
    assert rows == [[0, 1, 2], [3, 4, 5, 6], [7, 8, 9]]
    slices = h5s.H5Stream(path, {"x": h5s.Slices(base, 3)})
    assert [row["x"].tolist() for row in slices] == [[0, 1, 2], [3, 4, 5], [4, 5, 6], [7, 8, 9]]
    one = h5s.Ragged("observations", ends="terminals")
    assert len(h5s.H5Stream(path, {"x": one})) == 2
    for wrong, said in {"short": "one flag for each of 10", "observations": "needs one of"}.items():
        spec = h5s.Ragged("observations", ends=wrong)
        if wrong == "observations":
            spec = h5s.Ragged("observations", "short", ends="terminals")
        with pytest.raises(h5s.ConfigError, match=said):
            len(h5s.H5Stream(path, {"x": spec}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"after": 3}, "from 0 to less than their length"),
        ({"before": -1}, "from 0 to less than their length"),
        ({"after": 1, "center": True}, "not centred"),
        ({"padding": "edge"}, "before= and after="),
    ],
)
def test_padding_that_cannot_be_is_refused(
    minari: Path, options: dict[str, Any], said: str
) -> None:
    window = h5s.Slices(h5s.Grouped("episode_*/actions"), 3, **options)
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(minari, {"x": window}))


def test_slices_that_are_never_padded_have_no_mask(minari: Path) -> None:
    explicit = h5s.Slices(h5s.Grouped("episode_*/actions"), 1, starts=[0])
    with pytest.raises(h5s.ConfigError, match="slices at regular steps"):
        len(h5s.H5Stream(minari, {"x": explicit, "m": h5s.Mask(explicit)}))


@pytest.fixture
def events(tmp_path: Path) -> list[str]:
    """Two recordings with the starts and stops of their events."""
    bounds = [[[2, 4], [0, 0], [7, 10]], [[1, 2]]]
    for number, own in enumerate(bounds):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            file["signal"] = np.arange(10) + 100 * number
            file["bounds"] = own
            table = np.zeros(len(own), [("start", "u4"), ("stop", "u4")])
            table["start"], table["stop"] = np.array(own)[:, 0] + 1, np.array(own)[:, 1]
            file["events"] = table
            file["label"] = np.arange(len(own))
    return [str(tmp_path / f"{number}.h5") for number in range(2)]


EVENTS = [[2, 3], [], [7, 8, 9], [101]]


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"starts": "bounds"}, id="pairs"),
        pytest.param(
            {
                "starts": "events[start]",
                "stops": "events[stop]",
                "counts_from": 1,
                "inclusive": True,
            },
            id="members, from 1, inclusive",
        ),
    ],
)
def test_slices_lie_where_datasets_say(events: list[str], options: dict[str, Any]) -> None:
    fields = {"x": h5s.Slices("signal", **options), "label": "label"}
    rows = list(h5s.H5Stream(events, fields))
    assert [row["x"].tolist() for row in rows] == EVENTS
    assert [int(row["label"]) for row in rows] == [0, 1, 2, 0]


def test_starts_alone_need_a_length(events: list[str]) -> None:
    fixed = h5s.Slices("signal", 2, starts="bounds")
    rows = [row["x"].tolist() for row in h5s.H5Stream(events, {"x": fixed}, subset=[0, 3])]
    assert rows == [[2, 3], [101, 102]]
    with pytest.raises(h5s.ConfigError, match="or give a length"):
        len(h5s.H5Stream(events, {"x": h5s.Slices("signal", starts="label")}))
    with pytest.raises(h5s.ConfigError, match="'bounds' should be a list"):
        len(h5s.H5Stream(events, {"x": h5s.Slices("signal", starts="label", stops="bounds")}))


def test_given_bounds_may_count_from_one(events: list[str]) -> None:
    options: dict[str, Any] = {"counts_from": 1, "inclusive": True}
    over_all = h5s.Slices("signal", starts=[1, 11], stops=[2, 11], **options)
    rows = [row["x"].tolist() for row in h5s.H5Stream(events, {"x": over_all})]
    assert rows == [[0, 1], [100]]
    for wrong, said in (({"counts_from": 1}, "with starts"), ({"inclusive": True}, "with stops")):
        with pytest.raises(h5s.ConfigError, match=said):
            len(h5s.H5Stream(events, {"x": h5s.Slices("signal", 2, **wrong)}))


def test_bounds_outside_the_file_are_refused(events: list[str]) -> None:
    with h5py.File(events[0], "a") as file:
        file["bounds"][2] = [7, 11]
    with pytest.raises(h5s.LayoutError, match="slice 2 goes from 7 to 11"):
        len(h5s.H5Stream(events, {"x": h5s.Slices("signal", starts="bounds")}))
