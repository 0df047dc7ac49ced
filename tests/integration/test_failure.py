"""What ends an epoch before its time ends it soon, says why, and leaves nothing behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DataLoader

import h5stream as h5s
from tests.h5files import chunk_entries, flip_bytes
from tests.integration.launch import Started, started, wait_until
from tests.streams import threads, write_rows

N_FILES = 40
SOON_S = 60
"""No end takes that long, but torch's own clean-up takes five seconds for each failed worker."""

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
]


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """Look for workers, threads and shared memory after each test."""
    before = shared_memory()
    yield
    gc.collect()  # the traceback of an error holds the loader that it came from
    new = shared_memory() - before
    assert wait_until(lambda: not multiprocessing.active_children(), SOON_S)
    assert wait_until(lambda: not new & shared_memory() - mapped_by_others(), SOON_S)
    assert threads() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(N_FILES):
        write_rows(folder / f"{number}.h5", 16, first=16 * number)
    return folder


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("*")}


def mapped_by_others() -> set[str]:
    """Name the shared memory that belongs to processes which are none of this test's."""
    found: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        if int(maps.parent.name) != os.getpid():
            with suppress(OSError):
                found.update(re.findall(r" /dev/shm/(\S+)", maps.read_text()))
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage_chunk(path: Path) -> None:
    """Damage a chunk of ``x`` that is not looked at before streaming."""
    entry = chunk_entries(path, "x")[1]
    status = path.stat()
    flip_bytes(path, entry.byte_offset + 9, 4)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def load(folder: Path, workers: int, method: str | None = None, **options: Any) -> DataLoader[Any]:
    stream = h5s.H5Stream(folder / "*.h5", ["row", "x"], batch_size=4)
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=method,
        **options,
    )


@pytest.mark.timeout(SOON_S)
@pytest.mark.parametrize(("workers", "method"), [(2, "fork"), (1, "spawn")])
def test_the_error_of_a_worker_arrives_with_file_and_dataset(
    folder: Path, workers: int, method: str
) -> None:
    damage_chunk(folder / "7.h5")
    with pytest.raises(h5s.DecodeError, match="DataLoader worker process") as caught:
        list(load(folder, workers, method))
    for said in (str(folder / "7.h5"), "'/x' at (4, 0)", "gzip", "restore the file from a copy"):
        assert said in str(caught.value)
    assert names(folder) == sorted(f"{number}.h5" for number in range(N_FILES))


@pytest.mark.timeout(SOON_S)
@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (2, "fork"), (2, "spawn")])
def test_a_killed_worker_ends_the_loop_with_an_error(
    folder: Path, workers: int, method: str
) -> None:
    batches: Any = iter(load(folder, workers, method, prefetch_factor=2))
    next(batches)
    victim = batches._workers[workers - 1].pid
    os.kill(victim, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=rf"worker \(pid(\(s\))? {victim}\)"):
        list(batches)
    del batches
    assert names(folder) == sorted(f"{number}.h5" for number in range(N_FILES))


@pytest.fixture(params=[(0, "none"), (2, "fork"), (2, "spawn")], ids="{0[0]} {0[1]}".format)
def running(request: pytest.FixtureRequest, data: Path, tmp_path: Path) -> Iterator[Started]:
    """Start a program that streams for ever, and is in the middle of an epoch."""
    (tmp_path / "temp").mkdir()
    workers, method = request.param
    command = ["-m", "tests.integration.endless", str(data), str(workers), method]
    environment = {"TMPDIR": str(tmp_path / "temp")}
    with started(command, tmp_path / "output.txt", environment) as process:
        assert wait_until(lambda: "running" in process.output.read_text(), SOON_S)
        assert len(process.descendants()) >= workers
        yield process


def test_ctrl_c_ends_the_program_and_its_workers_and_leaves_no_file(
    running: Started, data: Path, tmp_path: Path
) -> None:
    before = names(data)
    running.interrupt()
    assert wait_until(lambda: running.process.poll() is not None, SOON_S)
    assert running.process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in running.output.read_text()
    assert wait_until(lambda: not running.descendants(), SOON_S)
    assert names(data) == before
    assert names(tmp_path / "temp") == []
