"""Long epochs begin with small windows: the first batch comes soon, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.pipes import Pipe, shuffle_rows
from tests.streams import blocks_of, rows_of, write_rows

ROW_NBYTES = 8 + 12
N = 320


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make windows of 32 rows, and so of 4, 16, 32."""
    monkeypatch.setattr(shuffle_rows, "_BUFFER_BYTES", 32 * ROW_NBYTES)


def windows(pipe: Pipe) -> list[list[int]]:
    return [rows_of([block]) for block in pipe]


@pytest.mark.parametrize("fused", [True, False])
def test_the_first_windows_are_small(tmp_path: Path, fused: bool) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    blocks = blocks_of(path)
    pipe = (blocks if fused else blocks.map(lambda block: block)).shuffle_rows()
    found = windows(pipe)
    assert [len(window) for window in found] == [4, 16, *[32] * 9, 12]
    assert sorted(row for window in found for row in window) == list(range(N))
    assert found == windows(blocks_of(path).shuffle_rows())


def test_short_epochs_and_asked_sizes_stay_as_they_are(tmp_path: Path) -> None:
    short = write_rows(tmp_path / "a.h5", N - 4)
    assert [len(window) for window in windows(blocks_of(short).shuffle_rows())] == [32] * 9 + [28]
    path = write_rows(tmp_path / "b.h5", N)
    assert [len(window) for window in windows(blocks_of(path).shuffle_rows(80))] == [80] * 4


def test_the_first_batch_reads_two_small_windows(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    pipe = blocks_of(path).shuffle_rows().batch(4)
    batches = iter(pipe)
    next(batches)
    numbers = 8 * N  # the column of row numbers is small, and read as a whole
    assert pipe.stats()["decoded_bytes"] <= numbers + (4 + 16) * 12


def test_small_windows_mix_sorted_labels_nearly_as_a_full_shuffle_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chunk, labels, batch = 16, 100, 128
    window = 128 * chunk
    monkeypatch.setattr(shuffle_rows, "_BUFFER_BYTES", 8 * window)
    sorted_labels = np.arange(10 * window) * labels // (10 * window)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("y", data=sorted_labels, chunks=(chunk,))
    pipe = h5s.open_files(tmp_path / "a.h5", ["y"]).list_chunks(8 * chunk).shuffle_chunks(0)
    blocks = pipe.shard().read_chunks().shuffle_rows()
    assert len(next(iter(blocks))["y"]) <= window / 8 + chunk
    found = [entropy(block["y"]) for block in blocks.batch(batch)]
    shuffled = np.random.default_rng(0).permutation(sorted_labels)
    full = [entropy(part) for part in shuffled.reshape(-1, batch)]
    assert len(found) == len(full)
    assert np.mean(found) >= 0.97 * np.mean(full)


def entropy(labels: np.ndarray) -> float:
    """Of the labels of a batch, in nats."""
    counts = np.unique(labels, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def test_a_stop_anywhere_is_resumed(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    whole = list(h5s.Loader(h5s.H5Stream(path, batch_size=5, shuffle=True, seed=4)))
    for stop in (1, 3, 7, 20, len(whole) - 1):
        first = h5s.Loader(h5s.H5Stream(path, batch_size=5, shuffle=True, seed=4))
        taken = [batch for _, batch in zip(range(stop), first, strict=False)]
        state = first.state_dict()
        again = h5s.Loader(h5s.H5Stream(path, batch_size=5, shuffle=True, seed=4))
        again.load_state_dict(state)
        assert rows_of([*taken, *again]) == rows_of(whole)
