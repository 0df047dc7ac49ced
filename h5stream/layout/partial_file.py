"""Lets HDF5 look at a remote file through parts of it that are in memory.

1. HDF5 reads from a file object in memory. What is not there fails the read at once.
2. The action that failed is dropped, what it missed is fetched, and it runs again: nothing is
   ever waited for while HDF5's lock is held, so no thread, no event loop and no garbage
   collection can wait for it in turn.
3. A miss fetches some bytes ahead, more where misses follow each other, and the blocks that those
   which HDF5 has read point to, as far as they will be wanted (`metadata`).

How bytes are fetched is the caller's business.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from h5stream.cancellation import NEVER, Cancellation
from h5stream.errors import LayoutError
from h5stream.layout.extents import Extents
from h5stream.layout.image import Image
from h5stream.layout.metadata import TREE_SIGNATURE, MetadataPrefetch, PrefetchSizes, TreeLevels
from h5stream.layout.model import Fingerprint
from h5stream.layout.opening import explain_open_failure, open_image

__all__ = ["Fetch", "PartialFile"]

T = TypeVar("T")

Fetch = Callable[[Sequence[tuple[int, int]], Cancellation], Sequence[bytes]]
"""Ranges (first byte, one past the last) -> their bytes; all at once, unless cancelled."""

_MOST_PAGE_BYTES = 2**20
_SIZES = PrefetchSizes()
_MOST_REQUEST_BYTES = 2**20
_MOST_BYTES = 2**30
_MOST_GUESSED_BYTES = 2**29
_KEPT_BYTES = 2**26
_MOST_TURNS = 4096
_MOST_LEVELS = 16


class PartialFile:
    """A remote file as HDF5 sees it.

    Parameters
    ----------
    name : str
        What messages call the file.
    fingerprint : Fingerprint
        The version of it that may be read.
    fetch : callable
        Fetches ranges of that version.
    sizes : PrefetchSizes
        How much to fetch that was not asked for.
    """

    alone: ClassVar[bool] = True

    def __init__(
        self, name: str, fingerprint: Fingerprint, fetch: Fetch, sizes: PrefetchSizes = _SIZES
    ) -> None:
        self.name = name
        self._fingerprint = fingerprint
        self._fetch = fetch
        self._extents = Extents()
        self._sizes = sizes
        self._ahead_bytes = sizes.least_bytes
        self._last_stop = -1
        self._prefetch = self._make_prefetch()
        self._levels = TreeLevels()
        self._turns = threading.Lock()

    def look_up_few(self) -> None:
        """Fetch no index of chunks whole from now on: few chunks will be looked up."""
        self._sizes = replace(self._sizes, nodes=0, whole_indexes=False)
        self._prefetch.sizes = self._sizes

    def keep(self, offset: int, data: bytes) -> None:
        """Take bytes that came without being asked for here."""
        self._extents.add(offset, data)

    def load(self, ranges: Sequence[tuple[int, int]], until: Cancellation = NEVER) -> None:
        """Fetch what is missing of some ranges, all at once."""
        missing = self._gaps(ranges)
        if self._extents.nbytes + sum(stop - start for start, stop in missing) > _MOST_BYTES:
            raise LayoutError(
                f"{self.name}: its description takes more than {_MOST_BYTES} bytes; the file is "
                "damaged, or its chunks are far too small: rewrite it"
            )
        if missing:
            for (start, _stop), data in zip(missing, self._fetch(missing, until), strict=True):
                self._extents.add(start, data)

    def _gaps(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """List what is missing of some ranges, joined where it overlaps or touches."""
        gaps: list[tuple[int, int]] = []
        for start, stop in sorted({gap for span in ranges for gap in self._extents.missing(*span)}):
            begin, reached = gaps[-1] if gaps else (0, -1)
            if start < reached or (start == reached and stop - begin <= _MOST_REQUEST_BYTES):
                gaps[-1] = (begin, max(reached, stop))
            else:
                gaps.append((start, stop))
        return gaps

    def forget(self) -> None:
        """Drop all bytes, if they have become many."""
        with self._turns:
            if self._extents.nbytes > _KEPT_BYTES:
                self._extents = Extents()
                self._prefetch = self._make_prefetch()

    def run(
        self,
        action: Callable[[Any], T],
        beside: Extents | None = None,
        until: Cancellation = NEVER,
    ) -> T:
        """Open the file in memory and call `action`, again after each miss.

        Parameters
        ----------
        action : callable
            Gets the open `h5py.File`.
        beside : Extents, optional
            More bytes of the file, for this time.
        until : Cancellation
            Ends waiting for others.

        Raises
        ------
        LayoutError
            If it is not HDF5, or asks for more than a file has.
        """
        with self._turns:
            for _turn in range(_MOST_TURNS):
                parts = [self._extents, *([] if beside is None else [beside])]
                image = _Partial(self.name, parts, self._fingerprint.size_bytes, self._fits)
                try:
                    result = self._try(action, image)
                    if image.is_whole:
                        return result
                except Exception:
                    if image.is_whole:
                        raise
                if image.damaged is not None:
                    raise LayoutError(
                        f"{self.name}: the heap at byte {image.damaged} is damaged; copy the file "
                        "again"
                    )
                self._prefetch.note(image.reads)
                self._load_missed(*image.missed or (0, 0), until)
        raise LayoutError(
            f"{self.name}: HDF5 found no end in {_MOST_TURNS} reads; the file is damaged, copy it "
            "again"
        )

    def _fits(self, place: int, node: bytes) -> bool:
        """Tell whether a node of an index is on the level where its parent says."""
        base_bytes = self._prefetch.base_bytes
        size_bytes = self._fingerprint.size_bytes - base_bytes
        return self._levels.fits(place - base_bytes, node, size_bytes)

    def _try(self, action: Callable[[Any], T], image: _Partial) -> T:
        try:
            file = open_image(image)
        except OSError as error:
            if image.missed is not None:
                raise
            looks_like_hdf5 = self._has_signature()
            raise LayoutError(
                explain_open_failure(self.name, str(error), looks_like_hdf5)
            ) from error
        with file:
            return action(file)

    def fingerprint(self, holder: str) -> Fingerprint:
        """Return the one it was opened with; every fetch compares."""
        return self._fingerprint

    def read(self, holder: str, offset: int, size: int) -> bytes:
        """Read bytes, fetched if need be."""
        stop = min(offset + size, self._fingerprint.size_bytes)
        self.load([(offset, stop)])
        return self._extents.read(offset, max(0, stop - offset)) or b""

    def _has_signature(self) -> bool:
        at = 0
        while at + 8 <= min(self._fingerprint.size_bytes, 2**16):
            if self.read(self.name, at, 8) == b"\x89HDF\r\n\x1a\n":
                return True
            at = max(512, 2 * at)
        return False

    def _make_prefetch(self) -> MetadataPrefetch:
        return MetadataPrefetch(
            self._fingerprint.size_bytes,
            lambda at, size: self._extents.read(at, size),
            self._sizes,
        )

    def _load_missed(self, offset: int, size: int, until: Cancellation) -> None:
        gaps = self._extents.missing(offset, offset + size)
        spans = [self._span_ahead(gaps[0][0], offset + size)] if gaps else []
        level = self._prefetch.beside(offset)
        for _level in range(_MOST_LEVELS):
            blocks = [self._align(each.place, each.nbytes) for each in level]
            nbytes = self._extents.nbytes + sum(stop - start for start, stop in self._gaps(blocks))
            self.load([*spans, *(blocks if nbytes <= _MOST_GUESSED_BYTES else [])], until)
            level, spans = self._prefetch.below(level), []
            if not level:
                return

    def _span_ahead(self, start: int, stop: int) -> tuple[int, int]:
        follows = self._last_stop <= start <= self._last_stop + self._sizes.align_bytes
        self._ahead_bytes = (
            min(2 * self._ahead_bytes, self._sizes.most_bytes)
            if follows
            else self._sizes.least_bytes
        )
        start, stop = self._align(start, stop - start)
        self._last_stop = min(max(stop, start + self._ahead_bytes), self._fingerprint.size_bytes)
        return start, self._last_stop

    def _align(self, offset: int, size: int) -> tuple[int, int]:
        """Round a range to whole pages."""
        page = min(max(self._prefetch.page_bytes, self._sizes.align_bytes), _MOST_PAGE_BYTES)
        start, stop = offset // page * page, -(-(offset + size) // page) * page
        return start, min(stop, self._fingerprint.size_bytes)


class _Partial(Image):
    """The file object that HDF5 reads from; what is not in memory is missed."""

    def __init__(
        self,
        name: str,
        parts: Sequence[Extents],
        size_bytes: int,
        fits: Callable[[int, bytes], bool],
    ) -> None:
        super().__init__(name, size_bytes, self._find)
        self._fits = fits
        self._parts = parts
        self.missed: tuple[int, int] | None = None
        self.reads: dict[int, int] = {}

    @property
    def is_whole(self) -> bool:
        """Whether nothing was kept from HDF5, which may go on without it."""
        return self.missed is None and self.damaged is None

    def _find(self, offset: int, size: int) -> bytes:
        """Return bytes, or remember what was missed and fail."""
        size = max(0, min(size, self._size_bytes - offset))
        found = (part.read(offset, size) for part in self._parts)
        data = next((each for each in found if each is not None), None) if size else b""
        if data is None:
            if self.missed is None:
                self.missed = (offset, size)
            raise OSError("not in memory")
        return data

    def _read_before(self, begin: int) -> bytes:
        """Return zeros for what is not in memory: HDF5 has not read it."""
        size = self._at - begin
        found = (part.read(begin, size) for part in self._parts)
        return next((each for each in found if each is not None), bytes(size))

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer, and note what was read."""
        offset = self._at
        size = super().readinto(buffer)
        self.reads[offset] = max(size, self.reads.get(offset, 0))
        data = bytes(memoryview(buffer).cast("B")[:size])
        if data[:4] == TREE_SIGNATURE and not self._fits(offset, data):
            raise OSError("an index of chunks leads back into itself")
        return size
