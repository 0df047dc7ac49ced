from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import h5stream as h5s
from tests.streams import blocks_of, rows_of, write_columns, write_rows


def test_samples_are_dicts_of_one_rows_values(tmp_path: Path) -> None:
    samples = list(blocks_of(write_rows(tmp_path / "a.h5", 10), seed=None).unbatch())
    assert rows_of(samples) == list(range(10))
    assert isinstance(samples[3], dict)
    assert samples[3]["x"].tolist() == [3.0, 3.25, 3.5]


def test_samples_stay_as_they_are_when_more_are_taken(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 50)).shuffle_rows(8).unbatch()
    kept = list(pipe)
    list(pipe)
    assert all(sample["x"][0] == sample["row"] for sample in kept)


def test_large_rows_are_taken_apart_piece_by_piece(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.uint8)[:, None] * np.ones(300_000, np.uint8)
    path = write_columns(tmp_path / "a.h5", {"x": x}, chunk_rows=12)
    pipe = h5s.open_files(path).list_chunks().read_chunks().unbatch()
    assert [int(sample["x"][-1]) for sample in pipe] == list(range(12))


def test_unbatch_has_as_many_items_as_rows(tmp_path: Path) -> None:
    assert len(blocks_of(write_rows(tmp_path / "a.h5", 10)).unbatch()) == 10


def test_samples_can_be_batched_again(tmp_path: Path) -> None:
    pipe = blocks_of(write_rows(tmp_path / "a.h5", 10), seed=None).unbatch().batch(4)
    assert [batch["row"].tolist() for batch in pipe] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_unbatch_does_not_take_samples(tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match=r"unbatch\(\) takes blocks, but gets samples"):
        blocks_of(str(tmp_path)).unbatch().unbatch()
