"""A stream as an IterableDataset of Hugging Face's datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 61


@pytest.fixture
def stream(tmp_path: Path) -> h5s.H5Stream:
    return h5s.H5Stream(write_rows(tmp_path / "a.h5", N), shuffle=True, output="numpy")


def dataset(stream: h5s.H5Stream, **options: Any) -> Any:
    return h5s.adapters.to_hf(stream, num_shards=4, **options)


def test_examples_are_rows_of_the_file(stream: h5s.H5Stream) -> None:
    examples = list(dataset(stream))
    assert sorted(rows_of(examples)) == list(range(N))
    for example in examples:
        np.testing.assert_array_equal(example["x"], example["row"] + np.float32([0, 0.25, 0.5]))
    first = next(iter(dataset(stream).with_format("torch")))
    assert first["x"].shape == torch.Size([3])


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_workers_and_nodes_share_the_rows(stream: h5s.H5Stream) -> None:
    loader: Any = DataLoader(dataset(stream), batch_size=None, num_workers=2)
    assert sorted(rows_of(loader)) == list(range(N))
    nodes = [split_dataset_by_node(dataset(stream), rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(row for node in nodes for row in rows_of(node)) == list(range(N))


def test_each_epoch_has_an_order_that_stays(stream: h5s.H5Stream) -> None:
    first = dataset(stream, epoch=0)
    assert rows_of(first) == rows_of(first)
    assert rows_of(dataset(stream, epoch=1)) != rows_of(first)


def test_its_state_goes_on_in_the_same_order(stream: h5s.H5Stream) -> None:
    running = dataset(stream)
    items = iter(running)
    for _example in range(23):
        next(items)
    state, expected = running.state_dict(), rows_of(items)
    again = dataset(stream)
    again.load_state_dict(state)
    assert rows_of(again) == expected


def test_batches_and_what_is_no_stream_are_refused(tmp_path: Path, stream: h5s.H5Stream) -> None:
    with pytest.raises(h5s.ConfigError, match="batch_size=None"):
        h5s.adapters.to_hf(h5s.H5Stream(tmp_path / "a.h5", batch_size=2))
    with pytest.raises(h5s.ConfigError, match="needs an H5Stream"):
        h5s.adapters.to_hf([1])  # type: ignore[arg-type]
    with pytest.raises(h5s.ConfigError, match="num_shards"):
        h5s.adapters.to_hf(stream, num_shards=0)
