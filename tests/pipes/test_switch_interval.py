from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import h5stream as h5s
from tests.streams import write_rows


@pytest.fixture(autouse=True)
def interval() -> Iterator[float]:
    before = sys.getswitchinterval()
    yield before
    sys.setswitchinterval(before)


def start(path: Path) -> Any:
    running: Any = iter(h5s.H5Stream(path, ["row"], batch_size=4))
    next(running)
    return running


def test_threads_switch_often_while_a_stream_runs(tmp_path: Path, interval: float) -> None:
    running = start(write_rows(tmp_path / "a.h5", 40))
    assert sys.getswitchinterval() == pytest.approx(0.0001)
    running.close()
    assert sys.getswitchinterval() == interval


def test_the_last_stream_puts_the_interval_back(tmp_path: Path, interval: float) -> None:
    path = write_rows(tmp_path / "a.h5", 40)
    first, second = start(path), start(path)
    first.close()
    assert sys.getswitchinterval() == pytest.approx(0.0001)
    assert len(list(second)) == 9
    second.close()
    assert sys.getswitchinterval() == interval


def test_an_interval_that_is_set_meanwhile_stays(tmp_path: Path, interval: float) -> None:
    running = start(write_rows(tmp_path / "a.h5", 40))
    sys.setswitchinterval(0.002)
    running.close()
    assert sys.getswitchinterval() == pytest.approx(0.002)


def test_a_shorter_interval_is_left_alone(tmp_path: Path, interval: float) -> None:
    sys.setswitchinterval(0.00005)
    running = start(write_rows(tmp_path / "a.h5", 40))
    assert sys.getswitchinterval() == pytest.approx(0.00005, rel=0.1)
    running.close()
    assert sys.getswitchinterval() == pytest.approx(0.00005, rel=0.1)


def test_a_forked_child_starts_over(tmp_path: Path, interval: float) -> None:
    running = start(write_rows(tmp_path / "a.h5", 40))
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=lambda: answers.put(sys.getswitchinterval()))
    child.start()
    child.join()
    running.close()
    assert answers.get() == interval
