"""What HDF5 reads a file through that is not opened by its path.

HDF5 walks damaged heap collections without end, so each one is looked at when it passes, before
HDF5 gets it. A collection holds objects one after the other, each with its size in front.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from h5stream.layout.metadata.pointers import Cursor

__all__ = ["Image", "Read", "is_sound_collection"]

_SIGNATURE = b"GCOL\x01"
_REACH = len(_SIGNATURE) - 1
_OBJECT_BYTES = 16

Read = Callable[[int, int], bytes]
"""(first byte, how many) -> bytes of a file, fewer at its end."""


class Image(io.RawIOBase):
    """A file object for `h5py.File`.

    Parameters
    ----------
    name : str
        What messages call the file.
    size_bytes : int
        How long it is.
    read : callable
        Reads it.
    """

    def __init__(self, name: str, size_bytes: int, read: Read) -> None:
        super().__init__()
        self._name = name
        self._size_bytes = size_bytes
        self._read = read
        self._at = 0
        self.damaged: int | None = None

    def __repr__(self) -> str:
        return self._name

    def readable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move there."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; fail on a damaged heap collection, and remember where it is."""
        wanted = memoryview(buffer).cast("B")
        size = max(0, min(len(wanted), self._size_bytes - self._at))
        data = self._read(self._at, size) if size else b""
        if self.damaged is None:
            self.damaged = self._find_damaged(data)
        if self.damaged is not None:
            raise OSError("a heap collection is damaged")
        wanted[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _find_damaged(self, data: bytes) -> int | None:
        """Look at the collections whose signature ends in some bytes; HDF5 may read in parts."""
        begin = max(0, self._at - _REACH)
        known = self._read_before(begin) + data
        at = known.find(_SIGNATURE)
        while at >= 0:
            if not is_sound_collection(self._read, begin + at, self._size_bytes):
                return begin + at
            at = known.find(_SIGNATURE, at + 1)
        return None

    def _read_before(self, begin: int) -> bytes:
        return self._read(begin, self._at - begin) if begin < self._at else b""


def is_sound_collection(read: Read, place: int, size_bytes: int) -> bool:
    """Walk a collection within bounds; say whether its objects fill it one after the other.

    Parameters
    ----------
    read : callable
        Reads the file.
    place : int
        Where the collection begins.
    size_bytes : int
        Of the file.
    """
    head = Cursor(read(place, _OBJECT_BYTES))
    if head.left < _OBJECT_BYTES or head.take(5) != _SIGNATURE:
        return False
    head.take(3)
    size = head.number(8)
    if not _OBJECT_BYTES <= size <= size_bytes - place:
        return False
    at, data, begin = _OBJECT_BYTES, b"", 0
    while at + _OBJECT_BYTES <= size:
        if at + _OBJECT_BYTES > begin + len(data):
            data, begin = read(place + at, min(size - at, 2**16)), at
        index = int.from_bytes(data[at - begin : at - begin + 2], "little")
        nbytes = int.from_bytes(data[at - begin + 8 : at - begin + 16], "little")
        if not index:
            return nbytes == size - at
        if nbytes > size - at - _OBJECT_BYTES:
            return False
        at += _OBJECT_BYTES + -(-nbytes // 8) * 8
    return True
