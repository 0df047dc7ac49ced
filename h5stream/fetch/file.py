"""What readers need of a file, wherever it is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from h5stream.layout import Extents

__all__ = ["DataFile", "Limits", "Request", "RequestingFile"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far neighbouring ranges are joined into one read."""

    max_gap_bytes: int
    max_bytes: int


class DataFile(Protocol):
    """One version of a file."""

    @property
    def limits(self) -> Limits:
        """How far it pays to join ranges."""

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Fill `buffers` with the bytes from `offset` on; return how many were moved for that."""

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Get bytes anew because they are damaged; None if they would be the same."""

    def check_unchanged(self) -> None:
        """Raise FetchError unless the file is still that version."""


class Request(DataFile, Protocol):
    """Ranges under way; once they are there, a file that consists of nothing else."""

    @property
    def arrived(self) -> Future[None]:
        """Done once all ranges are there, or one will never be."""

    @property
    def requests(self) -> int:
        """How many reads serve the ranges."""

    @property
    def moved_bytes(self) -> int:
        """How many bytes those bring."""

    @property
    def cached_bytes(self) -> int:
        """How many bytes were on disk already."""

    def view(self, offset: int, size: int) -> memoryview:
        """Return bytes without copying them."""

    def extents(self) -> Extents:
        """Return all that has arrived."""

    def settle(self) -> None:
        """Wait for what is not there yet, and make all of it ready to be read."""

    def drop(self) -> None:
        """Let go of the bytes; nothing is read any more."""

    def cancel(self) -> None:
        """Stop waiting for them."""


class RequestingFile(DataFile, Protocol):
    """A file whose bytes take so long that they are asked for before they are needed."""

    def request(self, offset: np.ndarray, size: np.ndarray) -> Request:
        """Ask for ranges, and return at once."""
