"""What stands in where an operating system lacks something."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from h5stream import system

ROOT = Path(__file__).parents[1]

CORE = (
    "tests/test_read.py",
    "tests/test_stream.py",
    "tests/fetch/test_local.py",
    "tests/fetch/test_disk_cache.py",
    "tests/layout/test_scan.py",
    "tests/reader/test_direct.py",
    "tests/reader/execution/test_fallback.py",
    "tests/write/test_growing.py::test_going_on_takes_the_columns_of_the_file",
)
NEEDS_LOCKS = "tests/layout/test_scan.py::test_a_file_that_this_process_writes_is_refused"
NEEDS_PREADV = "tests/fetch/test_local.py::test_a_failing_read_is_an_error"


def test_the_core_reads_without_what_other_systems_lack() -> None:
    left_out = ("--deselect", NEEDS_LOCKS, "--deselect", NEEDS_PREADV)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.lacking", *CORE, *left_out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "2 deselected" in done.stdout


@pytest.mark.parametrize("lacks", [(), ("preadv",), ("preadv", "pread")], ids=str)
def test_reads_fill_buffers_in_order(
    lacks: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(200))
    (tmp_path / "file").write_bytes(content)
    for name in lacks:
        monkeypatch.delattr(os, name)
    descriptor = system.open_descriptor(tmp_path / "file")
    try:
        buffers = [np.zeros((2, 3), np.uint16), np.zeros(0, np.uint8), np.zeros(90, np.uint8)]
        assert system.read_at(descriptor, buffers, 10) == 102
        assert b"".join(buffer.tobytes() for buffer in buffers) == content[10:112]
        assert system.read_at(descriptor, [np.zeros(50, np.uint8)], 180) == 20
        assert system.read_at(descriptor, [np.zeros(50, np.uint8)], 200) == 0
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("lacks", [(), ("poll",)], ids=str)
def test_sockets_tell_whether_something_came(
    lacks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lacks:
        monkeypatch.delattr(select, name)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not system.has_input(ours)
        theirs.send(b"x")
        assert system.has_input(ours)
        ours.recv(1)
        theirs.close()
        assert system.has_input(ours)


def test_limits_are_assumed_where_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 2**28 < system.memory_bytes() < 2**50
    assert 1 <= system.available_cores() <= (os.cpu_count() or 1)
    assert system.available_cores(10**6) == 1
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(system, "_IS_UNIX", False)
    assert system.memory_bytes() == 2**36
    assert system.available_cores() == os.cpu_count()
    assert system.most_descriptors() == 512


def test_links_are_refused_where_they_must_not_be_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.close(system.open_descriptor(tmp_path / "link"))
    with pytest.raises(OSError, match="link"):
        system.open_descriptor(tmp_path / "link", follow=False)
    assert system.is_own((tmp_path / "file").stat())
