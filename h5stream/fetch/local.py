"""Reads byte ranges of a local file straight into place.

A `LocalFile` has one descriptor, opened at the first read and closed with the last reference, or
before that if many other files are open (`descriptors`); then it is opened again.
It refuses to hand out bytes of a file that is no longer the one its layout describes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.errors import FetchError
from h5stream.fetch.descriptors import Descriptors, explain_too_many
from h5stream.fetch.file import AtHand, Lent, Limits, Room
from h5stream.layout import Fingerprint
from h5stream.system import after_fork, open_descriptor, read_at

__all__ = ["LocalFile", "LocalRanges", "describe_content", "read_small"]

_SAMPLES, _SAMPLE_BYTES = 16, 1024
"""How much of a file is looked at to tell it from others of its length."""

_DESCRIPTORS = Descriptors()
_NUMBERS = itertools.count()
after_fork(_DESCRIPTORS.renew)


class LocalFile:
    """A local file, read by many threads at once.

    Parameters
    ----------
    path : str
        The file.
    fingerprint : Fingerprint
        The version of it that may be read.
    """

    def __init__(self, path: str, fingerprint: Fingerprint) -> None:
        self.path = path
        self._fingerprint = fingerprint
        self._number = next(_NUMBERS)
        self._was_open = False
        weakref.finalize(self, _DESCRIPTORS.close, self._number).atexit = False

    def fetch(
        self, offset: np.ndarray, size: np.ndarray, until: Cancellation = NEVER
    ) -> LocalRanges:
        """Ask for nothing: bytes are read when they are looked at."""
        return LocalRanges(self)

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill `buffers`, one after the other, with the bytes from `offset` on.

        Returns
        -------
        int
            How many bytes were read: all that the buffers hold.

        Raises
        ------
        FetchError
            If the file cannot be read or ends too early.
        """
        descriptor = self._take()
        try:
            return self._read(descriptor, offset, buffers)
        finally:
            _DESCRIPTORS.give_back(self._number)

    def _read(self, descriptor: int, offset: int, buffers: Sequence[np.ndarray]) -> int:
        total = sum(buffer.nbytes for buffer in buffers)
        done = 0
        while done < total:
            rest = _rest_of(buffers, done) if done else buffers
            try:
                got = read_at(descriptor, rest, offset + done)
            except OSError as error:
                raise self._failure(f"read failed: {error.strerror}", offset, total) from error
            if not got:
                raise self._failure(f"the file ended after {done} bytes", offset, total)
            done += got
        return total

    @contextmanager
    def descriptor(self) -> Iterator[int]:
        """Lend the descriptor for reads outside the interpreter.

        Raises
        ------
        FetchError
            If the file cannot be opened.
        """
        descriptor = self._take()
        try:
            yield descriptor
        finally:
            _DESCRIPTORS.give_back(self._number)

    def check_unchanged(self) -> None:
        """Raise unless the file is still the one that was scanned.

        Raises
        ------
        FetchError
            If its size, its time of modification or its inode differ.
        """
        descriptor = self._take()
        try:
            self._check(descriptor)
        finally:
            _DESCRIPTORS.give_back(self._number)

    def _check(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        now = Fingerprint(found.st_size, found.st_mtime_ns, found.st_ino)
        if now != self._fingerprint:
            raise FetchError(
                f"{self.path}: the file changed while it was being read (found {now}, expected "
                f"{self._fingerprint}); nothing may write to it: make a new stream once the "
                "writer is done",
                url=self.path,
            )

    def let_go(self) -> None:
        """Close the file until it is read again."""
        _DESCRIPTORS.close_unless_used(self._number)

    def _take(self) -> int:
        try:
            return _DESCRIPTORS.take(self._number, self._open)
        except OSError as error:
            if isinstance(error, FetchError):
                raise
            raise explain_too_many(self.path, error) or FetchError(
                f"{self.path}: cannot be opened ({error.strerror}); it was there when it was "
                "scanned",
                url=self.path,
            ) from error

    def _open(self) -> int:
        """Open the file; another one may stand in its place when it is opened again."""
        descriptor = open_descriptor(self.path)
        if self._was_open:
            try:
                self._check(descriptor)
            except FetchError:
                os.close(descriptor)
                raise
        self._was_open = True
        return descriptor

    def _failure(self, what: str, offset: int, total: int) -> FetchError:
        return FetchError(
            f"{self.path}: {what}, expected {total} bytes from byte {offset} on; check the disk "
            "and whether something truncates the file",
            url=self.path,
            byte_range=(offset, offset + total),
        )


class LocalRanges(AtHand):
    """Ranges of a local file, which are read when they are looked at."""

    limits = Limits(max_gap_bytes=16 * 2**10, max_bytes=256 * 2**10)

    def __init__(self, file: LocalFile) -> None:
        self.read_bytes = 0
        self._file = file

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        """Read bytes into room."""
        memory = room(size)
        self.read_into(offset, [memory])
        return memory

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> None:
        """Fill `buffers` with the bytes from `offset` on."""
        self.read_bytes += self._file.read_into(offset, buffers)

    @contextmanager
    def lend(self) -> Iterator[Lent]:
        """Lend the descriptor."""
        with self._file.descriptor() as descriptor:
            yield Lent(descriptor)

    def count(self, nbytes: int) -> None:
        """Count bytes that were read by the descriptor that was lent."""
        self.read_bytes += nbytes


@lru_cache(maxsize=2**14)
def describe_content(path: str, mark: Fingerprint) -> str:
    """Describe what a file holds, the same for a copy, whenever and wherever it was made.

    A local file by its length and a digest of its beginning, its end and a few places between; a
    remote one by the version that the server tells.

    Raises
    ------
    FetchError
        If a local file cannot be read.
    """
    if mark.version or not mark.mtime_ns:
        return f"{mark.size_bytes} bytes, version {mark.version or 'unknown'}"
    digest = hashlib.blake2b(digest_size=8)
    file, last = LocalFile(path, mark), max(0, mark.size_bytes - _SAMPLE_BYTES)
    for number in range(_SAMPLES + 1):
        sample = np.empty(min(_SAMPLE_BYTES, mark.size_bytes), np.uint8)
        file.read_into(last * number // _SAMPLES, [sample])
        digest.update(sample.tobytes())
    return f"{mark.size_bytes} bytes, content {digest.hexdigest()}"


def read_small(path: Path, most_bytes: int) -> bytes | None:
    """Read a regular file that is not HDF5; None if there is none.

    Raises
    ------
    FetchError
        If it cannot be read, or has more than `most_bytes`.
    """
    try:
        descriptor = open_descriptor(path)
        with os.fdopen(descriptor, "rb") as raw:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            data = raw.read(most_bytes + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror})", url=str(path)) from error
    if len(data) > most_bytes:
        raise FetchError(f"{path}: has more than {most_bytes} bytes", url=str(path))
    return data


def _rest_of(buffers: Sequence[np.ndarray], done: int) -> list[Any]:
    """Return what is left to fill after `done` bytes."""
    rest = []
    for buffer in buffers:
        flat = buffer.reshape(-1).view(np.uint8)
        if done < flat.nbytes:
            rest.append(flat[done:])
        done = max(0, done - flat.nbytes)
    return rest
