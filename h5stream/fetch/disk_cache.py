"""Keeps pieces of remote files on disk: for all processes of a machine, up to so many bytes.

1. A piece is one file, named by a digest of what it is, keyed by a secret of the folder. It is
   written under another name and renamed, so that nobody ever sees a part of one, whenever the
   writer dies. Others can neither read pieces nor put some in their place: files are made for
   their owner alone, links are not followed, and what belongs to another user is not believed.
2. Each has a checksum. One that is damaged counts as absent, and is deleted.
3. Reading one touches it. From time to time whoever writes deletes the pieces that were read
   longest ago, one process at a time.

A disk that is full or cannot be written to is no error: then nothing is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

from h5stream.system import is_own, open_descriptor, try_lock

__all__ = ["DiskCache", "digest_of"]

_HEAD = struct.Struct("<4sIQ16s")
_MAGIC = b"H5S1"
_KEY_BYTES = 32
_LONGEST_WRITE_S = 3600.0
_ROUNDS = 16
"""So often while the limit is written once, what is there is counted."""

_FILLED_AGAIN = 0.9
"""Part of the limit that is left after old pieces were deleted."""


def digest_of(*parts: object, key: bytes = b"") -> bytes:
    """Name a piece by what it is: 16 bytes.

    Examples
    --------
    >>> digest_of("https://host/a.h5", 0, 100) == digest_of("https://host/a.h5", 0, 101)
    False
    """
    return hashlib.blake2b(repr(parts).encode(), digest_size=16, key=key).digest()


class DiskCache:
    """Pieces of bytes in a folder.

    Parameters
    ----------
    folder : path
        Made when the first piece is kept.
    limit_bytes : int
        The pieces that were read last stay, up to so many bytes.
    """

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int) -> None:
        self.folder = Path(folder)
        self.limit_bytes = limit_bytes
        self._written = limit_bytes  # the first piece counts what is there
        self._counting = threading.Lock()
        self._key: bytes | None = None

    def __getstate__(self) -> tuple[str, int]:
        return str(self.folder), self.limit_bytes

    def __setstate__(self, state: tuple[str, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def digest_of(self, *parts: object) -> bytes:
        """Name a piece of this folder by what it is; elsewhere the same has another name."""
        if self._key is None:
            self._key = self._find_key()
        return digest_of(*parts, key=self._key)

    def _find_key(self) -> bytes:
        """Read the folder's secret, or make it; without one, no other process finds the pieces."""
        path = self.folder / "key"
        for _attempt in range(2):
            if key := _read_own(path, _KEY_BYTES):
                return key
            with contextlib.suppress(OSError):
                _make_folder(self.folder)
                _write_new(path, secrets.token_bytes(_KEY_BYTES))
        return secrets.token_bytes(_KEY_BYTES)

    def has(self, digest: bytes) -> bool:
        """Tell whether there is such a piece; it may be damaged."""
        return self._path(digest).exists()

    def get(self, digest: bytes) -> bytes | None:
        """Return a piece, None if it is not there or damaged."""
        path = self._path(digest)
        content = _read_own(path, _HEAD.size + self.limit_bytes)
        if content is None:
            return None
        data = content[_HEAD.size :]
        if content[: _HEAD.size] != _head(digest, data):
            self.drop(digest)
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def put(self, digest: bytes, data: bytes | memoryview) -> None:
        """Keep a piece, if the disk allows."""
        if len(data) > self.limit_bytes:
            return
        path = self._path(digest)
        part = path.with_name(f"{secrets.token_hex(8)}.part")
        try:
            _make_folder(path.parent)
            _write_new(part, _head(digest, data), data)
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            return
        self._count(_HEAD.size + len(data))

    def drop(self, digest: bytes) -> None:
        """Delete a piece."""
        with contextlib.suppress(OSError):
            self._path(digest).unlink()

    def _path(self, digest: bytes) -> Path:
        name = digest.hex()
        return self.folder / name[:2] / name[2:]

    def _count(self, nbytes: int) -> None:
        with self._counting:
            self._written += nbytes
            if self._written < self.limit_bytes / _ROUNDS:
                return
            self._written = 0
        with contextlib.suppress(OSError), _alone(self.folder / "lock") as alone:
            if alone:
                self._delete_oldest()

    def _delete_oldest(self) -> None:
        pieces = sorted(self._list())
        total = sum(size for _time, size, _path in pieces)
        most = self.limit_bytes if total <= self.limit_bytes else _FILLED_AGAIN * self.limit_bytes
        for _time, size, path in pieces:
            if total <= most:
                break
            with contextlib.suppress(OSError):
                path.unlink()
            total -= size

    def _list(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each piece was read last, its size and its path; delete what was left."""
        for folder in self.folder.iterdir():
            if not folder.is_dir():
                continue
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    status = path.stat()
                    if not path.name.endswith(".part"):
                        yield status.st_mtime, status.st_size, path
                    elif time.time() - status.st_mtime > _LONGEST_WRITE_S:
                        path.unlink()


def _read_own(path: Path, most_bytes: int) -> bytes | None:
    """Read a regular file of this user's, None if it is not there, or something else."""
    try:
        descriptor = open_descriptor(path, follow=False)
    except OSError:
        return None
    status = os.fstat(descriptor)
    believed = stat.S_ISREG(status.st_mode) and is_own(status)
    if not believed or status.st_size > most_bytes:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as raw, contextlib.suppress(OSError):
        return raw.read(most_bytes)
    return None


def _make_folder(path: Path) -> None:
    """Make a folder, and those above, for this user alone."""
    if not path.is_dir():
        _make_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)


def _write_new(path: Path, *parts: bytes | memoryview) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(open_descriptor(path, flags, follow=False), "wb") as raw:
        for part in parts:
            raw.write(part)


def _head(digest: bytes, data: bytes | memoryview) -> bytes:
    return _HEAD.pack(_MAGIC, zlib.crc32(data), len(data), digest)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Tell whether no other process is here; the lock goes with the process that holds it."""
    opened = open_descriptor(path, os.O_RDWR | os.O_CREAT, follow=False)
    with os.fdopen(opened, "r+b"):
        try:
            try_lock(opened, shared=False)
        except OSError:
            yield False
        else:
            yield True
