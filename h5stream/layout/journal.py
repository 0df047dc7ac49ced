"""Changes a file in one step that is seen as a whole or not at all, also after kill -9.

While a file grows, everything that was there stays as it was on disk: what HDF5 would write over
it is kept in memory (`JournaledFile`), and only new bytes go behind its end. To commit,

1. the new bytes are synced,
2. what is to be written over the old ones is put into a journal beside the file, under another
   name, which is renamed when it is whole,
3. the journal is carried out, and removed.

A journal that is found later belongs to a writer that was killed in step 3: it is carried out
again (`replay_journal`), which comes to the same however far the first time got.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs

from h5stream.errors import LayoutError
from h5stream.system import open_descriptor, read_bytes, try_lock, write_at

__all__ = ["JournaledFile", "replay_journal"]

_MAGIC = b"h5stream journal 1\n"
_HEAD = struct.Struct("<QQ")
_ENTRY = struct.Struct("<QQ")
_PAGE = 4096
_PIECE_BYTES = 2**24
_DIGEST_BYTES = 32
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_SUPERBLOCK_BYTES = 48
_FLAGS_AT, _END_AT, _CHECKSUM_AT = 11, 28, 44


def _journal_of(path: str) -> str:
    return f"{path}.journal"


class JournaledFile(io.RawIOBase):
    """A file object that HDF5 appends to; what it changes is seen at the next `commit`.

    Parameters
    ----------
    path : str
        The file.

    Raises
    ------
    LayoutError
        If another process has it open for writing, or it cannot be opened.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        try:
            self._descriptor = open_descriptor(path, os.O_RDWR)
        except OSError as error:
            raise LayoutError(f"{path}: cannot be opened for writing ({error.strerror})") from error
        try:
            _lock(self._descriptor, path)
            replay_journal(path, self._descriptor)
            if Path(_journal_of(path)).exists():
                raise LayoutError(
                    f"{_journal_of(path)}: is in the way: a writer keeps its journal there; rename "
                    "it"
                )
            self._committed = _cut_rest(self._descriptor)
        except BaseException:
            os.close(self._descriptor)
            raise
        self._size = self._committed
        self._at = 0
        self._changed: dict[int, bytearray] = {}
        self._is_frozen = False

    def __repr__(self) -> str:
        return self._path

    def readable(self) -> bool:
        """Say yes."""
        return True

    def writable(self) -> bool:
        """Say yes."""
        return True

    def seekable(self) -> bool:
        """Say yes."""
        return True

    def tell(self) -> int:
        """Return where the next read or write begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move there."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Read what is there as HDF5 left it."""
        wanted = memoryview(buffer).cast("B")
        start, stop = self._at, min(self._at + len(wanted), self._size)
        if stop <= start:
            return 0
        data = read_bytes(self._descriptor, stop - start, start)
        wanted[: stop - start] = data.ljust(stop - start, b"\0")
        for page in self._pages(start, stop):
            if page in self._changed:
                begin, end = max(start, page * _PAGE), min(stop, self._end_of(page))
                part = self._changed[page][begin - page * _PAGE : end - page * _PAGE]
                wanted[begin - start : end - start] = part
        self._at = stop
        return stop - start

    def write(self, data: Any) -> int:
        """Write behind the committed end; keep in memory what belongs before it."""
        given = memoryview(data).cast("B")
        if self._is_frozen:
            return len(given)
        start, stop = self._at, self._at + len(given)
        for page in self._pages(start, stop):
            begin, end = max(start, page * _PAGE), min(stop, self._end_of(page))
            kept = self._page(page)
            kept[begin - page * _PAGE : end - page * _PAGE] = given[begin - start : end - start]
        behind = min(max(self._committed, start), stop)
        write_at(self._descriptor, given[behind - start :], behind)
        self._at = stop
        self._size = max(self._size, stop)
        return len(given)

    def _pages(self, start: int, stop: int) -> range:
        """List the numbers of the pages that a range before the committed end touches."""
        stop = min(stop, self._committed)
        return range(start // _PAGE, -(-stop // _PAGE)) if start < stop else range(0)

    def _end_of(self, page: int) -> int:
        return min((page + 1) * _PAGE, self._committed)

    def _page(self, page: int) -> bytearray:
        """Return a committed page as HDF5 left it."""
        if page not in self._changed:
            nbytes = self._end_of(page) - page * _PAGE
            data = read_bytes(self._descriptor, nbytes, page * _PAGE)
            self._changed[page] = bytearray(data.ljust(nbytes, b"\0"))
        return self._changed[page]

    def truncate(self, size: int | None = None) -> int:
        """Change the length; what is committed stays on disk until the next commit."""
        if self._is_frozen:
            return self._size
        self._size = self._at if size is None else size
        os.ftruncate(self._descriptor, max(self._size, self._committed))
        return self._size

    def commit(self) -> None:
        """Make all that was written seen, as a whole."""
        os.fsync(self._descriptor)
        self._clear_flags()
        changed = {page * _PAGE: bytes(data) for page, data in self._changed.items()}
        if changed or self._size != self._committed:
            _write_journal(self._path, self._size, changed)
            _carry_out(self._descriptor, self._size, changed.items())
            _remove_journal(self._path)
        self._changed.clear()
        self._committed = self._size

    def roll_back(self) -> None:
        """Forget all that was written since the last commit."""
        self._changed.clear()
        self._size = self._committed
        os.ftruncate(self._descriptor, self._committed)

    def freeze(self) -> None:
        """Take no more: HDF5 writes once more when it closes a file that is given up."""
        self._is_frozen = True

    def close(self) -> None:
        """Let go of the file."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _clear_flags(self) -> None:
        """Take out HDF5's mark that somebody writes: after kill -9 it would keep readers away."""
        page = self._page(0)
        if page[:8] == _SIGNATURE and page[8] == 3:
            page[_FLAGS_AT] = 0
            checksum = imagecodecs.h5checksum_lookup3(bytes(page[:_CHECKSUM_AT]))
            page[_CHECKSUM_AT:_SUPERBLOCK_BYTES] = int(checksum).to_bytes(4, "little")


def replay_journal(path: str, descriptor: int | None = None) -> None:
    """Carry out the journal of a writer that was killed, if there is one.

    Parameters
    ----------
    path : str
        The file.
    descriptor : int, optional
        Of the file, if the caller has it open and locked.

    Raises
    ------
    LayoutError
        If it is damaged, or the file cannot be written.
    """
    if not _is_there(path):
        return
    with contextlib.ExitStack() as stack:
        try:
            own = descriptor
            if own is None:  # locked before it is read: it may be that of a writer at work
                own = open_descriptor(path, os.O_RDWR)
                stack.callback(os.close, own)
                _lock(own, path)
            if not _is_there(path):
                return
            with Path(_journal_of(path)).open("rb") as journal:
                size, count = _check(path, journal)
                _carry_out(own, size, _entries(journal, count))
            _remove_journal(path)
        except OSError as error:
            if isinstance(error, LayoutError):
                raise
            raise LayoutError(
                f"{path}: its writer was killed, and {_journal_of(path)} cannot be carried out "
                f"({error.strerror or error}); open the stream once where the file may be written"
            ) from error


def _is_there(path: str) -> bool:
    """Tell whether there is a journal, and not somebody else's file."""
    try:
        with Path(_journal_of(path)).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except (FileNotFoundError, ValueError):
        return False
    except OSError as error:
        raise LayoutError(f"{_journal_of(path)}: cannot be read ({error.strerror})") from error


def _lock(descriptor: int, path: str) -> None:
    try:
        try_lock(descriptor, shared=False)
    except OSError as error:
        raise LayoutError(
            f"{path}: is open for writing elsewhere, or being opened; close it there first"
        ) from error


def _cut_rest(descriptor: int) -> int:
    """Drop what a killed writer left behind the end that HDF5 knows; return where that is."""
    head, size = read_bytes(descriptor, _SUPERBLOCK_BYTES, 0), os.fstat(descriptor).st_size
    if len(head) == _SUPERBLOCK_BYTES and head[:8] == _SIGNATURE and head[8] in (2, 3):
        end = int.from_bytes(head[_END_AT : _END_AT + 8], "little")
        if _SUPERBLOCK_BYTES <= end < size:
            os.ftruncate(descriptor, end)
            return end
    return size


def _write_journal(path: str, size: int, changed: dict[int, bytes]) -> None:
    partial = f"{_journal_of(path)}.part"
    descriptor = open_descriptor(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    digest, at = hashlib.sha256(), 0
    try:
        for part in _parts(size, changed):
            write_at(descriptor, memoryview(part), at)
            digest.update(part)
            at += len(part)
        write_at(descriptor, memoryview(digest.digest()), at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    Path(partial).replace(_journal_of(path))
    _sync_folder(path)


def _parts(size: int, changed: dict[int, bytes]) -> Iterator[bytes]:
    """Give what a journal holds, some megabytes at a time."""
    part = bytearray(_MAGIC + _HEAD.pack(size, len(changed)))
    for place, data in changed.items():
        part += _ENTRY.pack(place, len(data)) + data
        if len(part) >= _PIECE_BYTES:
            yield bytes(part)
            part.clear()
    yield bytes(part)


def _check(path: str, journal: BinaryIO) -> tuple[int, int]:
    """Check the journal as a whole; return the size of the file, and how many entries follow."""
    nbytes = os.fstat(journal.fileno()).st_size - _DIGEST_BYTES
    journal.seek(0)
    digest = hashlib.sha256()
    for start in range(0, nbytes, _PIECE_BYTES):
        digest.update(journal.read(min(_PIECE_BYTES, nbytes - start)))
    if nbytes < len(_MAGIC) + _HEAD.size or digest.digest() != journal.read(_DIGEST_BYTES):
        raise LayoutError(
            f"{_journal_of(path)}: is damaged, and {path} may be half written; copy both again "
            "from where they were written"
        )
    journal.seek(len(_MAGIC))
    size, count = _HEAD.unpack(journal.read(_HEAD.size))
    return size, count


def _entries(journal: BinaryIO, count: int) -> Iterator[tuple[int, bytes]]:
    """Read the entries of a journal that was checked: a place and what belongs there."""
    for _ in range(count):
        place, nbytes = _ENTRY.unpack(journal.read(_ENTRY.size))
        yield place, journal.read(nbytes)


def _carry_out(descriptor: int, size: int, changed: Iterable[tuple[int, bytes]]) -> None:
    for place, data in changed:
        write_at(descriptor, memoryview(data), place)
    os.ftruncate(descriptor, size)
    os.fsync(descriptor)


def _remove_journal(path: str) -> None:
    Path(_journal_of(path)).unlink()
    _sync_folder(path)


def _sync_folder(path: str) -> None:
    with contextlib.suppress(OSError):  # not every system syncs folders
        folder = open_descriptor(Path(path).resolve().parent)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
