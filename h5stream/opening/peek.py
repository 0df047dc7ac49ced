"""Reads a few rows of a remote file out of what a scan has in memory of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.fetch.file import AtHand, Room
from h5stream.layout import PartialFile

__all__ = ["PeekedFile"]


class PeekedFile(AtHand):
    """A file over a scan's source: what is fetched for one reader serves the other.

    Parameters
    ----------
    source : PartialFile
        The file as it is scanned.
    """

    def __init__(self, source: PartialFile) -> None:
        self._source = source

    def load(self, ranges: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Fetch ranges, given as offsets and sizes, all at once."""
        spans = [
            (start, start + size)
            for offset, sizes in ranges
            for start, size in zip(offset.tolist(), sizes.tolist(), strict=True)
        ]
        self._source.load(spans)

    def fetch(
        self, offset: np.ndarray, size: np.ndarray, until: Cancellation = NEVER
    ) -> PeekedFile:
        """Ask for nothing: bytes are looked up in memory, and fetched if they are not there."""
        return self

    def read(self, offset: int, size: int, room: Room) -> np.ndarray:
        """Return bytes out of memory."""
        return np.frombuffer(self._source.read(self._source.name, offset, size), np.uint8)

    def check_unchanged(self) -> None:
        """Do nothing: every fetch compares versions."""
