"""Fields of every kind, read from a file system in memory as if it were remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

import h5stream as h5s
from tests.contracts.kinds import KINDS, Kind
from tests.contracts.test_fields import numbers_of

ALONE = [kind for kind in KINDS if "several files" not in kind.name]
"""Remote files lead to no others."""

every_kind = pytest.mark.parametrize("kind", ALONE, ids=lambda kind: kind.name)


@pytest.fixture
def url(kind: Kind, tmp_path: Path) -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    memory.pipe("/fields/file.h5", kind.make(tmp_path).read_bytes())
    yield "memory://fields/file.h5"
    memory.rm("/fields", recursive=True)


def stream_of(url: str, kind: Kind, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(url, kind.fields, output="numpy", **{"batch_size": 4, **options})


@every_kind
def test_remote_rows_in_order_are_those_of_the_file(kind: Kind, url: str) -> None:
    assert numbers_of(stream_of(url, kind), kind) == list(range(len(kind.rows)))


@every_kind
def test_a_shuffled_remote_epoch_has_each_row_once(kind: Kind, url: str) -> None:
    stream = stream_of(url, kind, shuffle=True, buffer_size=9)
    assert sorted(numbers_of(stream, kind)) == list(range(len(kind.rows)))


@every_kind
def test_a_remote_subset_keeps_its_order(kind: Kind, url: str) -> None:
    rows = [41, 3, 3, 17, 0, 4, 5, 6]
    assert numbers_of(stream_of(url, kind, subset=rows), kind) == rows


@every_kind
def test_a_saved_layout_serves_every_kind(kind: Kind, url: str, tmp_path: Path) -> None:
    h5s.index_files(url, tmp_path / "layout.npz")
    stream = stream_of(url, kind, layout=tmp_path / "layout.npz")
    assert numbers_of(stream, kind) == list(range(len(kind.rows)))


@every_kind
def test_explain_counts_the_requests_of_every_kind(kind: Kind, url: str) -> None:
    stream = stream_of(url, kind)
    facts = dict(stream.explain().facts)
    assert "requests" in facts
    numbers_of(stream, kind)
    assert stream.stats()["requests"] > 0
