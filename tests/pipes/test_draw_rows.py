"""Streams that draw rows by weight: which rows, on which ranks, in which order, after a stop."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import h5stream as h5s
from tests.streams import rows_of, write_columns

N = 240
LABELS = np.where(np.arange(2 * N) % 12, "common", "rare")


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Two files of rows, of which one in twelve is rare."""
    paths = []
    for number in range(2):
        rows = np.arange(number * N, (number + 1) * N)
        columns = {
            "row": rows,
            "x": rows[:, None] + np.array([0.0, 0.5], np.float32),
            "label": LABELS[rows].astype("S6"),
            "quality": (rows % 5).astype("f4"),
        }
        paths.append(write_columns(tmp_path / f"{number}.h5", columns, chunk_rows=6))
    return paths


def stream_of(paths: list[str], weights: Any = None, **options: Any) -> h5s.H5Stream:
    more = {"batch_size": 16, "shuffle": True, "weights": weights, **options}
    return h5s.H5Stream(paths, ["row", "x"], **more)


def checked_rows(batches: Any) -> list[int]:
    """List the rows of batches, whose fields belong together."""
    kept = list(batches)
    assert all((batch["x"][..., 0] == batch["row"]).all() for batch in kept)
    return rows_of(kept)


def test_classes_come_equally_often(paths: list[str]) -> None:
    stream = stream_of(paths, h5s.Balanced("label"))
    for _ in range(3):
        rows = checked_rows(stream)
        counts = Counter(LABELS[rows].tolist())
        assert len(rows) == 2 * N
        assert abs(counts["rare"] - counts["common"]) <= 24
        assert Counter(Counter(rows).values()).keys() <= {1, 5, 6, 7}


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(np.arange(2 * N) % 5, id="array"),
        pytest.param((np.arange(2 * N) % 5).tolist(), id="list"),
        pytest.param("quality", id="column"),
        pytest.param({"quality": dict(enumerate(range(5)))}, id="values"),
        pytest.param(lambda columns: columns["quality"] * 1.0, id="function"),
        pytest.param(h5s.Balanced("quality", {1: 1, 2: 2, 3: 3, 4: 4}), id="shares"),
    ],
)
def test_weights_can_be_said_in_every_way(paths: list[str], weights: Any) -> None:
    counts = Counter(row % 5 for row in checked_rows(stream_of(paths, weights)))
    assert not counts[0]
    assert all(abs(counts[each] - 2 * N * each / 10) <= 8 for each in range(1, 5))


def test_combinations_and_names_of_files_can_be_balanced(paths: list[str]) -> None:
    weights = h5s.Balanced(("label", h5s.Origin("stem")), {("rare", "0"): 1, ("common", "1"): 3})
    rows = np.array(checked_rows(stream_of(paths, weights)))
    assert abs(int((rows < N).sum()) - N / 2) <= 4
    assert (LABELS[rows] == np.where(rows < N, "rare", "common")).all()


def test_weights_of_a_subset_are_shared_among_its_rows(paths: list[str]) -> None:
    subset = {"quality": [0, 1]}
    stream = stream_of(paths, h5s.Balanced("label"), subset=subset, rows_per_epoch=300)
    rows = np.array(checked_rows(stream))
    assert len(rows) == 300
    assert (rows % 5 < 2).all()
    assert abs(int((LABELS[rows] == "rare").sum()) - 150) <= 20
    numbers = np.arange(2 * N) == 5
    assert set(checked_rows(stream_of(paths, numbers, subset=subset))) == {5}


def test_rows_are_drawn_without_replacement(paths: list[str]) -> None:
    options: dict[str, Any] = {"replacement": False, "rows_per_epoch": 100}
    stream = stream_of(paths, {"label": {"rare": 100, "common": 1}}, **options)
    epochs = [checked_rows(stream) for _ in range(3)]
    for rows in epochs:
        assert len(rows) == len(set(rows)) == 100
        assert (LABELS[rows] == "rare").sum() >= 38
    assert len({frozenset(rows) for rows in epochs}) == 3


def test_short_epochs_come_to_all_rows(paths: list[str]) -> None:
    stream = stream_of(paths, rows_per_epoch=64)
    seen = [row for _ in range(60) for row in checked_rows(stream)]
    assert len(seen) == 60 * 64
    assert set(seen) == set(range(2 * N))


def test_ranks_get_equally_many_rows_and_together_all(paths: list[str]) -> None:
    weights, options = h5s.Balanced("label"), {"rows_per_epoch": 480, "uneven": "keep"}
    alone = Counter(checked_rows(stream_of(paths, weights, **options)))
    ranks = [
        checked_rows(stream_of(paths, weights, rank=rank, world_size=3, **options))
        for rank in range(3)
    ]
    assert {len(rows) for rows in ranks} == {160}
    assert sum(map(Counter, ranks), Counter()) == alone
    odd = [
        len(stream_of(paths, weights, rank=rank, world_size=3, rows_per_epoch=100))
        for rank in range(3)
    ]
    assert len(set(odd)) == 1


def test_lanes_fix_the_order_for_every_number_of_workers(paths: list[str]) -> None:
    def rows(workers: int) -> list[int]:
        stream = stream_of(paths, h5s.Balanced("label"), lanes=4, buffer_size=40)
        return checked_rows(h5s.Loader(stream, num_workers=workers) if workers else stream)

    assert rows(0) == rows(1) == rows(2)


def test_a_stop_anywhere_changes_nothing(paths: list[str]) -> None:
    def stream() -> h5s.H5Stream:
        return stream_of(paths, h5s.Balanced("label"), rows_per_epoch=300, buffer_size=40)

    one = stream()
    first, second = checked_rows(one), checked_rows(one)
    assert first != second
    for stop in (1, 7, 18, 19):
        left = stream()
        iterator = iter(left)
        before = checked_rows(islice(iterator, stop))
        resumed = stream()
        resumed.load_state_dict(iterator.state_dict())
        assert before + checked_rows(resumed) == first
        assert checked_rows(resumed) == second


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "quality"},
        {"rows_per_epoch": 200},
        {"replacement": False},
        {"seed": 1},
    ],
    ids=str,
)
def test_a_state_of_other_draws_is_refused(paths: list[str], change: dict[str, Any]) -> None:
    options: dict[str, Any] = {"weights": h5s.Balanced("label"), "rows_per_epoch": 100}
    iterator = iter(stream_of(paths, **options))
    next(iterator)
    other = stream_of(paths, **{**options, **change})
    other.load_state_dict(iterator.state_dict())
    with pytest.raises(h5s.StateError, match="saved by another stream"):
        next(iter(other))


def draw(sample: dict[str, Any]) -> dict[str, Any]:
    return {"row": sample["row"], "drawn": torch.rand((), dtype=torch.float64)}


def test_a_row_that_comes_again_is_augmented_anew(paths: list[str]) -> None:
    def drawn(workers: int) -> list[tuple[int, float]]:
        stream = stream_of(paths, h5s.Balanced("label"), transform=draw, lanes=2)
        batches = h5s.Loader(stream, num_workers=workers) if workers else stream
        pairs = ((batch["row"].tolist(), batch["drawn"].tolist()) for batch in batches)
        return [pair for rows, numbers in pairs for pair in zip(rows, numbers, strict=True)]

    found = drawn(0)
    assert len({number for _row, number in found}) == len(found) == 2 * N
    assert found == drawn(2)


def test_streams_that_draw_can_be_mixed(paths: list[str]) -> None:
    parts = [
        stream_of([path], h5s.Balanced("label"), rows_per_epoch=96, batch_size=8) for path in paths
    ]
    mixed = h5s.mix(parts, stop_criteria="all_exhausted")
    rows = checked_rows(mixed)
    assert len(rows) == 192
    assert sum(row < N for row in rows) == 96


def test_what_is_drawn_is_told(paths: list[str]) -> None:
    stream = stream_of(paths, h5s.Balanced("label"), rows_per_epoch=100)
    assert "rows_per_epoch=100" in repr(stream)
    text = str(stream.explain())
    assert "rows          480 of" in text
    assert "100 rows in each epoch, by weight, with replacement, from 480 of 480" in text
    assert len(stream) == 7


def test_a_chain_draws_between_listing_and_shuffling(paths: list[str]) -> None:
    listed = h5s.open_files(paths, ["row"]).list_chunks(1)
    drawn = listed.draw_rows({"label": {"rare": 1, "common": 0}}, rows_per_epoch=80)
    pipe = drawn.shuffle_chunks().shard().read_chunks().batch(8).collate()
    rows = rows_of(pipe)
    assert len(rows) == 80
    assert set(LABELS[rows]) == {"rare"}
    assert {chunk.file for chunk in drawn} == {0, 1}
    for wrong in (listed.shuffle_chunks(), drawn):
        with pytest.raises(h5s.ConfigError, match="before shuffle_chunks"):
            wrong.draw_rows()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"weights": "quality", "shuffle": False}, "pass shuffle=True"),
        ({"replacement": False}, "pass weights="),
        ({"weights": [1, 2]}, "2 weights, but all files have 480 rows"),
        ({"weights": np.full(480, -1.0)}, "row 0 has the weight -1.0"),
        ({"weights": np.full(480, np.nan)}, "row 0 has the weight nan"),
        ({"weights": np.zeros(480)}, "all rows have the weight zero"),
        ({"weights": "nothing"}, "nothing"),
        ({"weights": "label"}, "weights are numbers"),
        ({"weights": {"label": {"rare": 1}}}, "say nothing of 'common'"),
        ({"weights": {"label": {"rare": 1, "common": 1, "odd": 2}}}, "no row has 'label' = 'odd'"),
        ({"weights": {"label": 3}}, "goes from one column"),
        ({"weights": h5s.Balanced("label", {"odd": 2})}, "no row has 'label' = 'odd'"),
        ({"weights": h5s.Balanced("x")}, "one number or string a row"),
        ({"weights": "quality", "rows_per_epoch": 0}, "rows_per_epoch must be a positive"),
        (
            {"weights": {"label": {"rare": 1, "common": 0}}, "replacement": False},
            "480 rows cannot be drawn without replacement from 40",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_says_what_to_write(
    paths: list[str], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(h5s.ConfigError) as error:
        next(iter(stream_of(paths, **options)))
    assert said in str(error.value)
