"""Rows that ranks drop so as to get equally many: said where nobody asked for it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from tests.streams import rows_of, write_rows

TOLD = r"the last 6 of 300 rows are left out in every epoch, so that 7 ranks get equally many"


def stream(path: str, **options: Any) -> h5s.H5Stream:
    return h5s.H5Stream(path, batch_size=8, world_size=7, **{"rank": 0, **options})


@pytest.mark.parametrize("loads", [False, True], ids=["stream", "loader"])
def test_validation_says_what_it_drops_once(tmp_path: Path, loads: bool) -> None:
    path = write_rows(tmp_path / "a.h5", 300)
    pipe: Any = stream(path)
    pipe = h5s.Loader(pipe) if loads else pipe
    with pytest.warns(UserWarning, match=TOLD) as told:
        assert len(rows_of(pipe)) == 42
    assert len(told) == 1
    assert "6 rows in each epoch, so that 7 ranks" in str(stream(path).explain())


@pytest.mark.parametrize(
    "options",
    [{"rank": 1}, {"shuffle": True}, {"uneven": "drop"}, {"uneven": "keep"}, {"uneven": "pad"}],
    ids=str,
)
def test_nothing_is_said_by_other_ranks_or_where_it_is_meant(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = write_rows(tmp_path / "a.h5", 300)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(rows_of(h5s.Loader(stream(path, **options)))) in (42, 43)


def test_nothing_is_said_where_rows_divide(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.h5", 301)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = [row for rank in range(7) for row in rows_of(stream(path, rank=rank))]
    assert sorted(rows) == list(range(301))
    assert "left out" not in str(stream(path).explain())
