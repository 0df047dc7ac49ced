"""A stream as an IterDataPipe, in chains of torch's own and in its DataLoader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader, IterDataPipe

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60


@pytest.fixture
def stream(tmp_path: Path) -> h5s.H5Stream:
    return h5s.H5Stream(write_rows(tmp_path / "a.h5", N), batch_size=4, shuffle=True)


def test_chains_of_torch_go_on_from_it(stream: h5s.H5Stream) -> None:
    datapipe = h5s.adapters.to_datapipe(stream)
    assert isinstance(datapipe, IterDataPipe)
    rows: Any = datapipe.map(lambda batch: batch["row"].tolist()).unbatch()
    assert sorted(rows) == list(range(N))
    assert len(datapipe) == 15


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_dataloader_gives_every_row_once(stream: h5s.H5Stream, num_workers: int) -> None:
    loader: Any = DataLoader(
        h5s.adapters.to_datapipe(stream), batch_size=None, num_workers=num_workers
    )
    first, second = rows_of(loader), rows_of(loader)
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second


def test_its_state_goes_on_in_the_same_order(stream: h5s.H5Stream) -> None:
    datapipe = h5s.adapters.to_datapipe(stream)
    items = iter(datapipe)
    for _batch in range(6):
        next(items)
    state = datapipe.state_dict()
    expected = rows_of(items)
    again = h5s.adapters.to_datapipe(stream)
    again.load_state_dict(state)
    assert rows_of(again) == expected


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(h5s.ConfigError, match="needs an H5Stream or a Pipe"):
        h5s.adapters.to_datapipe([1])  # type: ignore[arg-type]
