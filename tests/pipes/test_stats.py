"""What `stats` counts, in workers too, against what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.streams import rows_of, write_rows

N = 60


def stream(path: Any, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(path, batch_size=4, shuffle=True, **options)


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("persistent", [False, True], ids=["anew", "persistent"])
def test_workers_count_for_their_parent(tmp_path: Path, context: str, persistent: bool) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    alone = stream(path, epochs=3)
    for _epoch in range(3):
        assert len(rows_of(alone)) == N
    pipe = stream(path)
    assert len(rows_of(pipe)) == N
    loader: Any = DataLoader(
        pipe,
        batch_size=None,
        num_workers=2,
        multiprocessing_context=context,
        persistent_workers=persistent,
    )
    for _epoch in range(2):
        assert len(rows_of(loader)) == N
    expected, found = alone.stats(), pipe.stats()
    for name in ("rows", "batches", "fetched_bytes", "decoded_bytes"):
        assert found[name] >= expected[name], name
    assert found["rows"] == 3 * N
    assert found["batches"] == 3 * N / 4


def test_a_loader_counts_what_its_caller_waits(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", N)
    loader = h5s.Loader(stream(path), num_workers=1)
    rows_of(loader)
    found = loader.stream.stats()
    assert found["wait_s"] > 0
    assert found["rows"] == N
