"""What operating systems have in different measure: reads, locks, descriptors, forks, memory.

Everything is asked for here, when it is needed, and something stands in where a system lacks it:
Windows has no `preadv`, `fcntl`, `resource`, `fork` or users' numbers, older versions of macOS no
`preadv`.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

try:
    import fcntl
    import resource
except ImportError:
    _IS_UNIX = False
else:
    _IS_UNIX = True

__all__ = [
    "after_fork",
    "available_cores",
    "before_fork",
    "has_input",
    "is_own",
    "memory_bytes",
    "most_descriptors",
    "open_descriptor",
    "read_at",
    "read_bytes",
    "try_lock",
    "write_at",
]

_ASSUMED_MEMORY_BYTES = 2**36
"""Where the system does not tell."""

_ASSUMED_DESCRIPTORS = 512
"""So many files a program of Windows may have open, if it has not asked for more."""

_MOST_BUFFERS = 1024
"""IOV_MAX of Linux and macOS."""

_SEEKING = threading.Lock()


def available_cores(num_workers: int = 1) -> int:
    """Count the cores that this process may use, shared among `num_workers` workers."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // num_workers)


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    if not hasattr(os, "sysconf"):
        return _ASSUMED_MEMORY_BYTES
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def most_descriptors() -> int | None:
    """Return how many files this process may have open; None: any number."""
    if not _IS_UNIX:
        return _ASSUMED_DESCRIPTORS
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def open_descriptor(
    path: str | os.PathLike[str], flags: int = os.O_RDONLY, *, follow: bool = True
) -> int:
    """Open a file for this user alone, and for this program alone; no pipe holds it up.

    Parameters
    ----------
    path : path
        The file.
    flags : int
        As for `os.open`.
    follow : bool
        Whether it may be a symbolic link, where the system can refuse those.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    names = ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY", *(() if follow else ("O_NOFOLLOW",)))
    for name in names:
        flags |= getattr(os, name, 0)
    return os.open(path, flags, 0o600)


def read_at(descriptor: int, buffers: Sequence[np.ndarray], offset: int) -> int:
    """Fill buffers with the bytes of a file from `offset` on; return how many came, 0 at the end.

    Parameters
    ----------
    descriptor : int
        The file, which other threads may read as well.
    buffers : sequence of numpy.ndarray
        Contiguous.
    offset : int
        First byte.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, buffers[:_MOST_BUFFERS], offset)  # type: ignore[arg-type]
    done = 0
    for buffer in buffers:
        flat = buffer.reshape(-1).view(np.uint8)
        data = read_bytes(descriptor, len(flat), offset + done)
        flat[: len(data)] = np.frombuffer(data, np.uint8)
        done += len(data)
        if len(data) < len(flat):
            break
    return done


def write_at(descriptor: int, data: memoryview, offset: int) -> None:
    """Write all of some bytes from `offset` on.

    Raises
    ------
    OSError
        If the disk is full, or the file cannot be written.
    """
    while len(data):
        if hasattr(os, "pwrite"):
            written = os.pwrite(descriptor, data, offset)
        else:
            with _SEEKING:
                os.lseek(descriptor, offset, os.SEEK_SET)
                written = os.write(descriptor, data)
        data, offset = data[written:], offset + written


def read_bytes(descriptor: int, nbytes: int, offset: int) -> bytes:
    """Read some bytes from `offset` on, fewer at the end of the file."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, nbytes, offset)
    with _SEEKING:
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, nbytes)


def try_lock(descriptor: int, *, shared: bool) -> None:
    """Lock a file until it is closed, where the system can.

    Raises
    ------
    OSError
        If another process holds it, or its file system has no locks.
    """
    if _IS_UNIX:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def is_own(status: os.stat_result) -> bool:
    """Tell whether a file belongs to this user; where users have no numbers, all do."""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def has_input(socket: Any) -> bool:
    """Tell whether bytes, or the end, have come for a socket."""
    if not hasattr(select, "poll"):
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))


def before_fork(function: Callable[[], None]) -> None:
    """Call a function before this process forks, if it can."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=function)


def after_fork(function: Callable[[], None]) -> None:
    """Call a function in each child that this process forks, if it can."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=function)
