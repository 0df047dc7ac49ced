"""Keeps pieces of remote files on disk: for all processes of a machine, up to so many bytes.

1. A piece is one file, named by a digest of what it is. It is written under another name and
   renamed, so that nobody ever sees a part of one, whenever the writer dies.
2. Each has a checksum. One that is damaged counts as absent, and is deleted.
3. Reading one touches it. From time to time whoever writes deletes the pieces that were read
   longest ago, one process at a time.

A disk that is full or cannot be written to is no error: then nothing is kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PieceStore", "digest_of"]

_HEAD = struct.Struct("<4sIQ16s")
_MAGIC = b"H5S1"
_LONGEST_WRITE_S = 3600.0
_ROUNDS = 16
"""So often while the limit is written once, what is there is counted."""

_FILLED_AGAIN = 0.9
"""Part of the limit that is left after old pieces were deleted."""


def digest_of(*parts: object) -> bytes:
    """Name a piece by what it is: 16 bytes.

    Examples
    --------
    >>> digest_of("https://host/a.h5", 0, 100) == digest_of("https://host/a.h5", 0, 101)
    False
    """
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).digest()


class PieceStore:
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

    def __getstate__(self) -> tuple[str, int]:
        return str(self.folder), self.limit_bytes

    def __setstate__(self, state: tuple[str, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def has(self, digest: bytes) -> bool:
        """Tell whether there is such a piece; it may be damaged."""
        return self._path(digest).exists()

    def get(self, digest: bytes) -> bytes | None:
        """Return a piece, None if it is not there or damaged."""
        path = self._path(digest)
        try:
            content = path.read_bytes()
        except OSError:
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
        part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as raw:
                raw.write(_head(digest, data))
                raw.write(data)
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


def _head(digest: bytes, data: bytes | memoryview) -> bytes:
    return _HEAD.pack(_MAGIC, zlib.crc32(data), len(data), digest)


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Tell whether no other process is here; the lock goes with the process that holds it."""
    with path.open("wb") as raw:
        try:
            fcntl.flock(raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
