"""Streams of TensorDicts, against the tensors that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensordict import TensorDictBase

import h5stream as h5s
from tests.streams import rows_of, write_columns

N = 30


@pytest.fixture
def path(tmp_path: Path) -> str:
    columns = {
        "row": np.arange(N),
        "name": np.array([f"n{row}".encode() for row in range(N)]),
        "pair": np.zeros(N, [("a", "f4"), ("b", "i8")]),
    }
    return write_columns(tmp_path / "a.h5", columns)


def stream(path: str, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(path, ["row", "name", "pair"], output="tensordict", **options)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_batches_have_a_batch_size(path: str, num_workers: int) -> None:
    loader = h5s.Loader(stream(path, batch_size=4, shuffle=True), num_workers=num_workers)
    batches = list(loader)
    assert len(loader) == len(batches) == 8
    assert [tuple(batch.batch_size) for batch in batches] == [(4,)] * 7 + [(2,)]
    assert all(isinstance(batch, TensorDictBase) for batch in batches)
    assert sorted(rows_of(batches)) == list(range(N))
    first = batches[0]
    assert [first[0]["name"]] == [f"n{int(first[0]['row'])}"]
    assert first["pair", "b"].dtype == torch.int64


def test_samples_have_none_and_a_state(path: str) -> None:
    items: Any = iter(stream(path, shuffle=True))
    first = next(items)
    assert tuple(first.batch_size) == ()
    again = stream(path, shuffle=True)
    again.load_state_dict(items.state_dict())
    assert rows_of(again) == rows_of(items)


def ragged(tmp_path: Path, **options: Any) -> h5s.H5Stream:
    path = tmp_path / "ragged.h5"
    with h5s.Writer(
        path, {"tokens": h5s.RaggedColumn("int64"), "row": h5s.DenseColumn((), "int64")}
    ) as writer:
        for row in range(N):
            writer.append({"tokens": np.full(row % 5, row), "row": row})
    return h5s.H5Stream(path, batch_size=6, output="tensordict", **options)


def test_rows_of_unequal_length_are_padded_or_nested(tmp_path: Path) -> None:
    padded = next(iter(ragged(tmp_path)))
    assert padded["tokens"].shape == torch.Size([6, 4])
    assert padded["tokens_lengths"].tolist() == [0, 1, 2, 3, 4, 0]


def test_what_has_no_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(h5s.ConfigError, match="Packed of 'tokens' has no place"):
        next(iter(ragged(tmp_path, ragged="packed")))
    with pytest.raises(h5s.ConfigError, match='"tensordict", not'):
        h5s.H5Stream("a.h5", batch_size=2, output="jax")  # type: ignore[arg-type]
