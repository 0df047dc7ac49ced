from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from tests.streams import blocks_of, rows_of, threads, write_rows


@pytest.fixture
def path(tmp_path: Path) -> str:
    return write_rows(tmp_path / "a.h5", 40)


@pytest.mark.parametrize("items", [1, 3, 100])
def test_prefetch_changes_nothing_but_the_thread(path: str, items: int) -> None:
    pipe = blocks_of(path).batch(3).collate()
    assert rows_of(pipe.prefetch(items)) == rows_of(pipe)
    assert len(pipe.prefetch(items)) == len(pipe)


def test_prefetch_works_ahead_of_the_caller_but_not_further(path: str) -> None:
    made: list[int] = []

    def count(item: dict[str, Any]) -> dict[str, Any]:
        made.append(int(item["row"]))
        return item

    running = iter(blocks_of(path, seed=None).unbatch().map(count).prefetch(5))
    next(running)
    deadline = time.monotonic() + 10
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(0.05)
    assert made == list(range(6))
    running.close()  # type: ignore[attr-defined]


def test_prefetch_runs_functions_on_a_thread_of_its_own(path: str) -> None:
    names: set[str] = set()

    def note(item: dict[str, Any]) -> dict[str, Any]:
        names.add(threading.current_thread().name)
        return item

    list(blocks_of(path).map(note).prefetch())
    assert len(names) == 1
    assert names.pop().startswith("h5stream")


def test_errors_come_to_the_caller_in_their_place(path: str) -> None:
    def fail_late(item: dict[str, Any]) -> dict[str, Any]:
        if item["row"] == 7:
            raise RuntimeError("mine")
        return item

    running = iter(blocks_of(path, seed=None).unbatch().map(fail_late).prefetch(4))
    assert [int(next(running)["row"]) for _ in range(7)] == list(range(7))
    with pytest.raises(RuntimeError, match="mine"):
        next(running)
    assert threads() == []


def test_prefetch_needs_a_positive_number(path: str) -> None:
    with pytest.raises(h5s.ConfigError, match="items must be a positive integer, not 0"):
        blocks_of(path).prefetch(0)
