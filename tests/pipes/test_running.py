from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import h5stream as h5s
from h5stream.pipes import StreamIterator


@pytest.fixture
def stream(tmp_path: Path) -> h5s.H5Stream:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=np.arange(20_000).reshape(2000, 10), chunks=(10, 10))
    return h5s.H5Stream(str(tmp_path / "x.h5"), ["x"], batch_size=10, shuffle=True, buffer_size=500)


def free_bytes(stream: h5s.H5Stream) -> int:
    gc.collect()
    (reader,) = stream._readers_of_this_process()
    return reader._pool.free_bytes


def break_off(stream: h5s.H5Stream) -> None:
    for number, _batch in enumerate(stream):
        if number == 70:
            break


def close(stream: h5s.H5Stream) -> None:
    batches = iter(stream)
    next(batches)
    assert isinstance(batches, StreamIterator)
    batches.close()


def drop(stream: h5s.H5Stream) -> None:
    iterators = [iter(stream) for _ in range(3)]
    for each in iterators:
        next(each)


@pytest.mark.parametrize("leave", [break_off, close, drop])
def test_an_iterator_that_is_left_gives_its_windows_back(
    stream: h5s.H5Stream, leave: Callable[[h5s.H5Stream], None]
) -> None:
    leave(stream)
    assert free_bytes(stream) == 0


def test_windows_serve_the_next_epoch(stream: h5s.H5Stream) -> None:
    assert sum(len(batch["x"]) for batch in stream) == 2000
    assert free_bytes(stream) > 0
