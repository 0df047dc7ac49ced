"""What only remote files have, for fields of every kind: saved layouts and requests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from tests.contracts.kinds import KINDS, Kind
from tests.contracts.test_fields import numbers_of
from tests.places import placed_all

REMOTE = [kind for kind in KINDS if "memory" in kind.places]

every_kind = pytest.mark.parametrize("kind", REMOTE, ids=lambda kind: kind.name)


@pytest.fixture
def url(kind: Kind, tmp_path: Path) -> Iterator[Any]:
    with placed_all(kind.make(tmp_path), "memory") as url:
        yield url


def stream_of(url: Any, kind: Kind, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(
        kind.sources(url), kind.fields, output="numpy", **{"batch_size": 4, **options}
    )


@every_kind
def test_a_saved_layout_serves_every_kind(kind: Kind, url: Any, tmp_path: Path) -> None:
    h5s.index_files(kind.sources(url), tmp_path / "layout.npz")
    stream = stream_of(url, kind, layout=tmp_path / "layout.npz")
    assert numbers_of(stream, kind) == list(range(len(kind.rows)))


@every_kind
def test_explain_counts_the_requests_of_every_kind(kind: Kind, url: Any) -> None:
    stream = stream_of(url, kind)
    facts = dict(stream.explain().facts)
    assert "requests" in facts
    numbers_of(stream, kind)
    assert stream.stats()["requests"] > 0
