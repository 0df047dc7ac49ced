"""Parts of a file that are already in memory."""

from __future__ import annotations

from bisect import bisect_right

__all__ = ["Extents"]


class Extents:
    """Bytes of a file by their offset; parts never overlap."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._parts: dict[int, bytes] = {}
        self.nbytes = 0

    def add(self, offset: int, data: bytes) -> None:
        """Keep bytes; what was there before stays.

        Examples
        --------
        >>> parts = Extents()
        >>> parts.add(4, b"efgh")
        >>> parts.add(2, b"cdEFGHij")
        >>> parts.read(2, 8)
        b'cdefghij'
        """
        for start, stop in self.missing(offset, offset + len(data)):
            self._starts.insert(bisect_right(self._starts, start), start)
            self._parts[start] = data[start - offset : stop - offset]
            self.nbytes += stop - start

    def missing(self, start: int, stop: int) -> list[tuple[int, int]]:
        """List the parts between two offsets that are not here.

        Examples
        --------
        >>> parts = Extents()
        >>> parts.add(4, b"efgh")
        >>> parts.missing(0, 10)
        [(0, 4), (8, 10)]
        """
        gaps = []
        at = max(0, bisect_right(self._starts, start) - 1)
        while at < len(self._starts) and self._starts[at] < stop and start < stop:
            begin = self._starts[at]
            if begin > start:
                gaps.append((start, begin))
            start = max(start, begin + len(self._parts[begin]))
            at += 1
        if start < stop:
            gaps.append((start, stop))
        return gaps

    def read(self, offset: int, size: int) -> bytes | None:
        """Return bytes, None unless all of them are here."""
        pieces, stop = [], offset + size
        at = bisect_right(self._starts, offset) - 1
        while offset < stop:
            if not 0 <= at < len(self._starts):
                return None
            begin = self._starts[at]
            piece = self._parts[begin][offset - begin : stop - begin]
            if begin > offset or not piece:
                return None
            pieces.append(piece)
            offset, at = offset + len(piece), at + 1
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
