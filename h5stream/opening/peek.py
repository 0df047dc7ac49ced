"""Reads a few rows of a remote file out of what a scan has in memory of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.fetch import DataFile
from h5stream.fetch.file import Limits
from h5stream.layout import PartialFile

__all__ = ["PeekedFile"]


class PeekedFile(DataFile):
    """A file over a scan's source: what is fetched for one reader serves the other.

    Parameters
    ----------
    source : PartialFile
        The file as it is scanned.
    """

    def __init__(self, source: PartialFile) -> None:
        self._source = source

    @property
    def limits(self) -> Limits:
        """Ranges in memory are not joined."""
        return Limits(max_gap_bytes=-1, max_bytes=0)

    def load(self, ranges: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Fetch ranges, given as offsets and sizes, all at once."""
        spans = [
            (start, start + size)
            for offset, sizes in ranges
            for start, size in zip(offset.tolist(), sizes.tolist(), strict=True)
        ]
        self._source.load(spans)

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill `buffers` with the bytes from `offset` on."""
        total, done = sum(buffer.nbytes for buffer in buffers), 0
        data = np.frombuffer(self._source.read(self._source.name, offset, total), np.uint8)
        for buffer in buffers:
            flat = buffer.reshape(-1).view(np.uint8)
            flat[:] = data[done : done + flat.nbytes]
            done += flat.nbytes
        return total

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Return None: what is in memory stays what it is."""
        return None

    def check_unchanged(self) -> None:
        """Do nothing: every fetch compares versions."""
