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

CUT_SHORT = "ConnectionResetError|ConnectionRefusedError|EOFError|FileNotFoundError"
"""What torch says instead of naming the killed worker, if a batch of it was just arriving."""

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def ours() -> Iterator[set[int]]:
    """Look for workers, threads and shared memory after each test; hold the ids of its programs."""
    ours = {os.getpid()}
    before = shared_memory().keys()
    yield ours
    gc.collect()  # the traceback of an error holds the loader that it came from
    new = shared_memory().keys() - before
    assert wait_until(lambda: not multiprocessing.active_children(), SOON_S)
    assert wait_until(lambda: not new & left_by(ours), SOON_S)
    assert threads() == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(N_FILES):
        write_rows(folder / f"{number}.h5", 16, first=16 * number)
    return folder


def shared_memory() -> dict[int, str]:
    """Return the names of what lies in shared memory, by inode."""
    found: dict[int, str] = {}
    for path in Path("/dev/shm").glob("*"):
        with suppress(OSError):
            found[path.stat().st_ino] = path.name
    return found


def left_by(programs: set[int]) -> set[int]:
    """Return the inodes of what no other process uses, but the batches that workers were sending.

    Torch names a file by the process that makes it, and takes the name away once the file has its
    size: a worker that is killed between the two leaves the file to nobody.
    """
    names = shared_memory()
    makers = {inode: re.match(r"torch_(\d+)_", name) for inode, name in names.items()}
    sent = {inode for inode, maker in makers.items() if maker and int(maker[1]) not in programs}
    return names.keys() - sent - mapped_by_others()


def mapped_by_others() -> set[int]:
    """Return the inodes of shared memory that processes other than this one use."""
    found: set[int] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        if int(maps.parent.name) != os.getpid():
            with suppress(OSError):
                found.update(map(int, re.findall(r" (\d+) +/dev/shm/", maps.read_text())))
    return found


@pytest.mark.parametrize(
    ("maker", "is_left"), [(os.getpid(), True), (2**30, False)], ids=["own", "other"]
)
def test_only_the_files_of_our_own_programs_count_as_left(maker: int, is_left: bool) -> None:
    path = Path("/dev/shm") / f"torch_{maker}_test_{os.getpid()}"
    path.touch()
    inode = path.stat().st_ino
    try:
        assert (inode in left_by({os.getpid()})) == is_left
    finally:
        path.unlink()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def damage_chunk(path: Path) -> None:
    """Damage a chunk of ``x`` that is not looked at before streaming."""
    entry = chunk_entries(path, "x")[1]
    status = path.stat()
    flip_bytes(path, entry.byte_offset + 9, 4)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def load(folder: Path, workers: int, method: str, loader: str = "DataLoader") -> DataLoader[Any]:
    stream = h5s.H5Stream(folder / "*.h5", ["row", "x"], batch_size=4)
    options: dict[str, Any] = {"num_workers": workers, "multiprocessing_context": method}
    if loader == "Loader":
        return h5s.Loader(stream, **options)
    return DataLoader(stream, batch_size=None, **options)


@pytest.mark.timeout(SOON_S)
@pytest.mark.parametrize(("workers", "method"), [(1, "fork"), (1, "spawn")])
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
def test_our_loader_raises_the_error_of_a_worker_as_it_is(folder: Path) -> None:
    damage_chunk(folder / "7.h5")
    with pytest.raises(h5s.DecodeError, match="gzip") as caught:
        list(load(folder, 1, "spawn", "Loader"))
    error = caught.value
    assert (error.url, error.dataset, error.chunk_offset) == (str(folder / "7.h5"), "/x", (4, 0))


@pytest.fixture
def running(
    request: pytest.FixtureRequest, data: Path, tmp_path: Path, ours: set[int]
) -> Iterator[Started]:
    """Start a program that streams for ever, and is in the middle of an epoch."""
    (tmp_path / "temp").mkdir()
    loader, workers, method = request.param
    command = ["-m", "tests.integration.endless", str(data), loader, str(workers), method]
    environment = {"TMPDIR": str(tmp_path / "temp")}
    with started(command, tmp_path / "output.txt", environment) as process:
        ours.add(process.process.pid)
        assert wait_until(lambda: "running" in process.output.read_text(), SOON_S)
        assert len(workers_of(process)) == workers
        yield process


def workers_of(process: Started) -> list[int]:
    line = next(line for line in process.output.read_text().splitlines() if "running" in line)
    return [int(word) for word in line.split()[1:]]


def programs(*parameters: tuple[str, int, str]) -> pytest.MarkDecorator:
    ids = [f"{loader} of {workers} {method} workers" for loader, workers, method in parameters]
    return pytest.mark.parametrize("running", parameters, indirect=True, ids=ids)


@programs(
    ("DataLoader", 1, "fork"),
    ("DataLoader", 2, "fork"),
    ("DataLoader", 2, "spawn"),
    ("Loader", 2, "fork"),
)
def test_a_killed_worker_ends_the_program_with_an_error(running: Started) -> None:
    victim = workers_of(running)[-1]
    os.kill(victim, signal.SIGKILL)
    assert wait_until(lambda: running.process.poll() is not None, SOON_S)
    assert running.process.returncode == 1
    # Torch names the worker, unless a batch of it was just arriving.
    said = (
        rf"RuntimeError: DataLoader worker \(pid(\(s\))? {victim}\)|ConnectionResetError|EOFError"
    )
    assert re.search(said, running.output.read_text())
    assert wait_until(lambda: not running.descendants(), SOON_S)


@programs(
    ("DataLoader", 0, "no"),
    ("DataLoader", 2, "fork"),
    ("DataLoader", 2, "spawn"),
    ("Loader", 2, "fork"),
)
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
    # Python's multiprocessing leaves its folder for sockets where a process ends in the middle.
    assert [name for name in names(tmp_path / "temp") if not name.startswith("pymp-")] == []
