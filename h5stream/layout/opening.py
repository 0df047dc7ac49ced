"""Opens HDF5 files for reading, and refuses what should not be read: missing, locked, damaged."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from h5stream.errors import LayoutError
from h5stream.layout.journal import replay_journal
from h5stream.layout.model import Fingerprint
from h5stream.system import open_descriptor, try_lock

__all__ = ["explain_open_failure", "fingerprint_of", "open_checked", "open_h5", "open_image"]


def fingerprint_of(path: str) -> Fingerprint:
    """Read the fingerprint of the file at `path`.

    Raises
    ------
    LayoutError
        If there is no such file.
    """
    replay_journal(path)
    try:
        status = Path(path).stat()
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # a NUL, or what the file system has no bytes for
        raise LayoutError(f"{path!r} is no path: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise LayoutError(f"{path}: is no regular file, and only those can be HDF5; check the path")
    return Fingerprint(status.st_size, status.st_mtime_ns, status.st_ino)


@contextlib.contextmanager
def open_checked(path: str) -> Iterator[h5py.File]:
    """Open a file for a scan, and close it afterwards.

    Raises
    ------
    LayoutError
        If it is missing, open for writing elsewhere, or not HDF5.
    """
    fingerprint_of(path)
    _refuse_locked(path)
    try:
        file = open_h5(path)
    except OSError as error:
        raise LayoutError(
            explain_open_failure(path, str(error), bool(h5py.is_hdf5(path)))
        ) from error
    with file:
        yield file


def open_h5(path: str) -> h5py.File:
    """Open for reading without file locks.

    HDF5 refuses to open a file twice in one process with different lock settings, so a file that
    the user already holds open is opened with the user's setting.
    """
    for locking in (False, None, True):
        try:
            return h5py.File(path, "r", locking=locking)
        except OSError as error:
            if "locking" not in str(error):
                raise
    return h5py.File(path, "r", locking="best-effort")


def _refuse_locked(path: str) -> None:
    """HDF5 writers hold an exclusive flock; file systems without locks cannot tell."""
    try:
        descriptor = open_descriptor(path)
    except OSError as error:
        raise LayoutError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    try:
        try_lock(descriptor, shared=True)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise LayoutError(
                f"{path}: is open for writing elsewhere; close it there first, because its "
                "contents may change while they are read"
            ) from error
    finally:
        os.close(descriptor)


def open_image(image: Any) -> h5py.File:
    """Open a file object for reading; HDF5 may find that it lacks parts."""
    return h5py.File(image, "r")


def explain_open_failure(path: str, reason: str, looks_like_hdf5: bool) -> str:
    """Say what is wrong with a file that HDF5 cannot open, and what to do."""
    if "already open for write" in reason or "already open for SWMR" in reason:
        advice = "close the writer, or run `h5clear -s` on the file if the writer crashed"
    elif "truncated" in reason:
        advice = "the file is truncated: copy it again, or close the program that writes it"
    elif not looks_like_hdf5:
        advice = "the file is not HDF5 (no HDF5 signature was found)"
    else:
        advice = "the file is damaged, or written by a newer HDF5"
    return f"{path}: cannot be opened as HDF5: {advice}. HDF5 says: {reason}"
