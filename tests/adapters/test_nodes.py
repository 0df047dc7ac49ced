"""A stream as a node of torchdata, with its state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torchdata.nodes

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", N)


def graph(path: str, num_workers: int | None = None) -> Any:
    stream: Any = h5s.H5Stream(path, batch_size=4, shuffle=True, lanes=2)
    if num_workers is not None:
        stream = h5s.Loader(stream, num_workers=num_workers)
    node = torchdata.nodes.Prefetcher(h5s.adapters.to_node(stream), prefetch_factor=3)
    return torchdata.nodes.Loader(node)


@pytest.mark.parametrize("num_workers", [None, 0, 2])
def test_a_graph_gives_every_row_once_an_epoch(path: str, num_workers: int | None) -> None:
    loader = graph(path, num_workers)
    first, second = rows_of(loader), rows_of(loader)
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second


@pytest.mark.parametrize("num_workers", [None, 0, 1])
@pytest.mark.parametrize("given", [1, 7, 15])
def test_a_resumed_graph_goes_on_like_an_uninterrupted_one(
    path: str, num_workers: int | None, given: int
) -> None:
    loader = graph(path, num_workers)
    rows_of(loader)
    items = iter(loader)
    for _batch in range(given):
        next(items)
    state = loader.state_dict()
    expected = rows_of(items)
    again = graph(path, num_workers)
    again.load_state_dict(state)
    assert rows_of(again) == (expected or rows_of(loader))


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(h5s.ConfigError, match="to_node needs"):
        h5s.adapters.to_node([1])  # type: ignore[arg-type]
