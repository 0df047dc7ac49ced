"""Slices that begin elsewhere in every epoch."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import h5stream as h5s

LENGTHS = (30, 12, 7, 41)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Recordings whose elements tell their own numbers, also as rows of one array."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, length in enumerate(LENGTHS):
            values = 1000 * number + np.arange(length)
            file.create_dataset(f"demo_{number}/x", data=values, chunks=(5,), compression="gzip")
            file[f"demo_{number}"].attrs["label"] = number
        file.create_dataset("runs", data=np.arange(12 * 20).reshape(12, 20), chunks=(5, 6))
        file["run"] = np.arange(12)
    return tmp_path / "a.h5"


X = h5s.Grouped("demo_*/x")


def fields_of(**options: Any) -> dict[str, Any]:
    return {
        "x": h5s.Slices(X, 4, random=True, **options),
        "next": h5s.Slices(X, 2, shift=4, random=True, **options),
        "start": h5s.Origin("start"),
        "label": h5s.Grouped("demo_*", attribute="label"),
        "row": h5s.Origin("row"),
    }


def checked(rows: Any) -> list[tuple[int, int]]:
    """List the row and the start of samples, whose slices belong together."""
    found = []
    for row in rows:
        start = int(row["start"])
        assert row["x"].tolist() == [1000 * int(row["label"]) + start + n for n in range(4)]
        assert row["next"].tolist() == [1000 * int(row["label"]) + start + n for n in (4, 5)]
        assert start + 6 <= LENGTHS[int(row["label"])]
        found.append((int(row["row"]), start))
    return found


def test_each_slice_begins_within_its_stretch_and_elsewhere_in_each_epoch(path: Path) -> None:
    stream = h5s.H5Stream(path, fields_of(stride=5), shuffle=True)
    regular = h5s.H5Stream(path, {"x": h5s.Slices(X, 6, stride=5), "start": h5s.Origin("start")})
    first = [int(row["start"]) for row in regular]
    starts: list[set[int]] = [set() for _ in first]
    for _ in range(40):
        epoch = checked(stream)
        assert sorted(row for row, _start in epoch) == list(range(len(first)))
        for row, start in epoch:
            starts[row].add(start - first[row])
    assert all(some <= set(range(5)) for some in starts)
    whole = [row for row, begin in enumerate(first[:-1]) if first[row + 1] == begin + 5]
    assert all(starts[row] == set(range(5)) for row in whole)


def test_one_slice_of_each_sequence_begins_anywhere(path: Path) -> None:
    stream = h5s.H5Stream(path, fields_of(stride=None), shuffle=True)
    assert len(stream) == len(LENGTHS)
    epochs = [checked(stream) for _ in range(60)]
    last = [start for epoch in epochs for row, start in epoch if row == 3]
    assert min(last) < 5
    assert max(last) > 30
    assert {start for epoch in epochs for row, start in epoch if row == 2} == {0, 1}


def test_starts_are_the_same_however_rows_are_read(path: Path) -> None:
    def stream(**options: Any) -> h5s.H5Stream:
        more = {"shuffle": True, "seed": 4, "lanes": 2, "buffer_size": 3, **options}
        return h5s.H5Stream(path, fields_of(stride=3), **more)

    expected = checked(stream())
    assert checked(h5s.Loader(stream(), num_workers=2)) == expected
    assert sorted(expected) != sorted(checked(stream(seed=5)))
    left = stream()
    iterator = iter(left)
    before = checked(islice(iterator, 9))
    resumed = stream()
    resumed.load_state_dict(iterator.state_dict())
    assert before + checked(resumed) == expected


def test_a_slice_that_is_drawn_again_begins_elsewhere(path: Path) -> None:
    options: dict[str, Any] = {"weights": [1, 0, 0, 0], "rows_per_epoch": 60, "shuffle": True}
    rows = checked(h5s.H5Stream(path, fields_of(stride=None), **options))
    assert len({start for _row, start in rows}) > 12


def test_padding_moves_along(path: Path) -> None:
    chunk = h5s.Slices(X, 5, after=4, stride=6, padding="edge", random=True)
    fields = {"x": chunk, "mask": h5s.Mask(chunk), "start": h5s.Origin("start")}
    fields["label"] = h5s.Grouped("demo_*", attribute="label")
    for row in h5s.H5Stream(path, fields, shuffle=True):
        label, start = int(row["label"]), int(row["start"])
        places = start + np.arange(5)
        assert row["mask"].tolist() == (places < LENGTHS[label]).tolist()
        assert row["x"].tolist() == (1000 * label + places.clip(max=LENGTHS[label] - 1)).tolist()


def test_windows_inside_rows_begin_anywhere(path: Path) -> None:
    fields = {"x": h5s.Slices("runs", 3, axis=1, stride=None, random=True), "run": "run"}
    stream = h5s.H5Stream(path, fields, shuffle=True)
    seen = set()
    for _ in range(30):
        for row in stream:
            start = int(row["x"][0]) - 20 * int(row["run"])
            assert row["x"].tolist() == [int(row["x"][0]) + n for n in range(3)]
            assert 0 <= start <= 17
            seen.add(start)
    assert seen == set(range(18))


def test_rows_by_number_begin_where_epoch_zero_does(path: Path) -> None:
    dataset = h5s.Dataset(path, fields_of(stride=5))
    expected = checked(h5s.H5Stream(path, fields_of(stride=5)))
    assert checked(dataset[number] for number in range(len(dataset))) == expected


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"x": h5s.Slices(X, 3, random=True), "y": h5s.Slices(X, 3)}, "in all fields or in none"),
        ({"x": h5s.Slices(X, 3, starts=[0], random=True)}, "at regular steps"),
        ({"x": h5s.Slices(X, 3, center=True, random=True)}, "at regular steps"),
    ],
    ids=["some", "explicit", "centred"],
)
def test_what_cannot_begin_at_random_is_refused(
    path: Path, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(h5s.ConfigError, match=said):
        len(h5s.H5Stream(path, fields))
