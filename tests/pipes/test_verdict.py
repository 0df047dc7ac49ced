"""What counters are taken to mean, against runs whose bound is known."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from h5stream.pipes.verdict import Stored, StreamStats, judge
from h5stream.reader import COUNTERS

GZIP, ZSTD = Stored(frozenset({1, 2}), row_bytes=10), Stored(frozenset({32015}), row_bytes=10)


def counted(**amounts: float) -> dict[str, float]:
    """Ten seconds of one process with two threads, but for what is given."""
    told = dict.fromkeys(COUNTERS, 0.0) | {"batches": 10, "rows": 100, "decoded_bytes": 1000}
    return told | {"process_s": 10.0, "thread_s": 20.0} | amounts


@pytest.mark.parametrize(
    ("counters", "stored", "expected"),
    [
        (counted(wait_s=0.2, work_s=9.8, decode_s=5), GZIP, "loader could be 4.0x faster"),
        (counted(wait_s=0.2, work_s=9.8, decode_s=5, requests=9), GZIP, "loop is the bound: it wa"),
        (counted(wait_s=9, work_s=1, decode_s=18), GZIP, "2 threads busy; repack with zstd"),
        (counted(wait_s=9, work_s=1, decode_s=18), ZSTD, "2 threads busy; add cores; the loop wai"),
        (counted(wait_s=9, work_s=1, decode_s=18, decoded_bytes=4e3), ZSTD, "decoded 4.0 times"),
        (counted(wait_s=9, work_s=1, decode_s=18), Stored(direct=False), "through h5py"),
        (counted(wait_s=9, work_s=1, fetch_s=18, fetched_bytes=1e9), ZSTD, "files (100 MB/s a pro"),
        (counted(wait_s=9, work_s=1, gather_s=18), ZSTD, "place bound"),
        (counted(wait_s=9, work_s=1, make_s=8, decode_s=1), ZSTD, "bound by making batches"),
        (counted(wait_s=9, work_s=1, first_s=8, decode_s=19), ZSTD, "start bound: 8.0 of 9.0 s"),
        (
            counted(wait_s=9, work_s=1, requests=50, fetched_bytes=1e8),
            ZSTD,
            "network bound: 10 MB/",
        ),
        (counted(wait_s=9, work_s=1, decode_s=4), ZSTD, "nothing is busy (threads 20%)"),
        (counted(), ZSTD, "nothing was streamed yet"),
    ],
)
def test_the_verdict_names_what_held_the_loop_up(
    counters: dict[str, float], stored: Stored, expected: str
) -> None:
    assert expected in judge(counters, stored)


def test_stats_survive_a_pickle() -> None:
    stats: Any = StreamStats(counted(rows=3), counted(rows=1), "fine")
    again = pickle.loads(pickle.dumps(stats))
    assert (again, again.epoch, again.verdict) == (stats, stats.epoch, "fine")
