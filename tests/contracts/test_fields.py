"""What holds for every kind of field, as for a dense one."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import h5stream as h5s
from tests.contracts.kinds import KINDS, Kind, same_row
from tests.places import PLACES, placed_all

FEW = settings().max_examples // 2
"""Examples for each of the many kinds."""

CASES = [
    pytest.param(kind, where, id=f"{kind.name}, {where}")
    for kind in KINDS
    for where in PLACES
    if where in kind.places
]
every_kind = pytest.mark.parametrize(("kind", "where"), CASES)


@pytest.fixture
def path(kind: Kind, where: str, tmp_path: Path) -> Iterator[Any]:
    """Files of one kind of field: on disk, or read as remote files are."""
    with placed_all(kind.make(tmp_path), where) as path:
        yield path


def stream_of(path: Any, kind: Kind, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(
        kind.sources(path), kind.fields, output="numpy", **{"batch_size": 4, **options}
    )


def numbers_of(batches: Any, kind: Kind) -> list[int]:
    """Return the row numbers of batches, after checking each row."""
    numbers: list[int] = []
    for batch in batches:
        for number, row in zip(batch["number"].tolist(), batch["x"], strict=True):
            assert same_row(row, kind.rows[number])
            numbers.append(number)
    return numbers


@every_kind
def test_rows_in_order_are_those_of_the_file(kind: Kind, path: Any) -> None:
    stream = stream_of(path, kind)
    assert numbers_of(stream, kind) == list(range(len(kind.rows)))


@every_kind
def test_a_shuffled_epoch_has_each_row_once(kind: Kind, path: Any) -> None:
    stream = stream_of(path, kind, shuffle=True, buffer_size=9, epochs=2)
    first, second = numbers_of(stream, kind), numbers_of(stream, kind)
    assert sorted(first) == sorted(second) == list(range(len(kind.rows)))
    assert first != second


@every_kind
def test_ranks_share_the_rows(kind: Kind, path: Any) -> None:
    found: list[int] = []
    for rank in range(3):
        options = {"rank": rank, "world_size": 3, "uneven": "keep"}
        found += numbers_of(stream_of(path, kind, shuffle=True, buffer_size=5, **options), kind)
    assert sorted(found) == list(range(len(kind.rows)))


@every_kind
def test_a_stop_anywhere_changes_nothing(kind: Kind, path: Any) -> None:
    whole = numbers_of(stream_of(path, kind, shuffle=True, buffer_size=9), kind)
    length = len(stream_of(path, kind))
    for stop in range(0, length + 1, 3):
        stream = stream_of(path, kind, shuffle=True, buffer_size=9)
        iterator = iter(stream)
        before = numbers_of((next(iterator) for _ in range(stop)), kind)
        resumed = stream_of(path, kind, shuffle=True, buffer_size=9)
        resumed.load_state_dict(iterator.state_dict())
        assert before + numbers_of(resumed, kind) == whole


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_drawn_rows_come_as_often_as_their_weights_say(kind: Kind, tmp_path: Path) -> None:
    with placed_all(kind.make(tmp_path), "disk") as path:
        weights = np.arange(len(kind.rows)) % 3
        n_rows = 2 * int(weights.sum())
        stream = stream_of(path, kind, shuffle=True, weights=weights, rows_per_epoch=n_rows)
        numbers = numbers_of(stream, kind)
    assert (np.bincount(numbers, minlength=len(kind.rows)) == 2 * weights).all()


@every_kind
def test_a_pickled_stream_gives_the_same(kind: Kind, path: Any) -> None:
    stream = stream_of(path, kind, shuffle=True)
    copy = pickle.loads(pickle.dumps(stream))
    assert numbers_of(stream, kind) == numbers_of(copy, kind)


@every_kind
def test_workers_give_each_row_once(kind: Kind, path: Any) -> None:
    stream = stream_of(path, kind, shuffle=True, buffer_size=9)
    loader = h5s.Loader(stream, num_workers=2)
    assert sorted(numbers_of(loader, kind)) == list(range(len(kind.rows)))


@every_kind
def test_files_follow_each_other(kind: Kind, where: str, path: Any, tmp_path: Path) -> None:
    (tmp_path / "another").mkdir()
    with placed_all(kind.make(tmp_path / "another"), where) as another:
        fields = kind.fields if kind.in_two is None else {**kind.fields, "x": kind.in_two}
        stream = h5s.H5Stream(
            kind.sources([*path, *another]), fields, output="numpy", batch_size=7, shuffle=True
        )
        numbers = numbers_of(stream, kind)
    assert sorted(numbers) == sorted([*range(len(kind.rows))] * 2)


@every_kind
def test_a_subset_keeps_its_order(kind: Kind, path: Any) -> None:
    rows = [n % len(kind.rows) for n in (41, 3, 3, 17, 58, 0, 4, 5, 6)]
    stream = stream_of(path, kind, subset=rows)
    assert numbers_of(stream, kind) == rows
    shuffled = stream_of(path, kind, subset=rows, shuffle=True)
    assert sorted(numbers_of(shuffled, kind)) == sorted(rows)


@every_kind
def test_tensors_are_made_of_every_kind(kind: Kind, path: Any) -> None:
    stream = h5s.H5Stream(kind.sources(path), kind.fields, batch_size=8)
    batch = next(iter(stream))
    assert isinstance(batch["x"], torch.Tensor | list)
    assert len(batch["x"]) == 8
    sample = next(iter(h5s.H5Stream(kind.sources(path), kind.fields)))
    assert isinstance(sample["x"], torch.Tensor | str)


@every_kind
def test_random_access_gives_the_same_rows(kind: Kind, path: Any) -> None:
    dataset = h5s.Dataset(kind.sources(path), kind.fields, collate=dict)
    rows = [n % len(kind.rows) for n in (7, 3, 40, 3, len(dataset) - 1)]
    assert numbers_of([dataset.batch(rows)], kind) == rows
    for row in rows:
        assert same_row(dataset[row]["x"], kind.rows[row])


@every_kind
def test_explain_says_how_it_is_read(kind: Kind, path: Any) -> None:
    text = str(stream_of(path, kind).explain())
    assert "direct" in text or "through h5py" in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@settings(max_examples=FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_each_row_once_under_any_cut(kind: Kind, tmp_path: Path, data: st.DataObject) -> None:
    world = data.draw(st.integers(1, 5))
    options = {
        "batch_size": data.draw(st.integers(1, 9)),
        "buffer_size": data.draw(st.integers(1, 30)),
        "seed": data.draw(st.integers(0, 99)),
        "uneven": "keep",
        "world_size": world,
    }
    with placed_all(kind.make(tmp_path), data.draw(st.sampled_from(kind.places))) as path:
        found = [
            numbers_of(stream_of(path, kind, shuffle=True, rank=rank, **options), kind)
            for rank in range(world)
        ]
    assert sorted(np.concatenate(found).astype(int).tolist()) == list(range(len(kind.rows)))
