"""What a block of metadata says about where others are, and how blocks are read.

All numbers are little-endian; addresses and lengths have 8 bytes, as in nearly all files. Addresses
inside a block count from the superblock; those of pointers from the beginning of the file.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

__all__ = ["UNDEFINED", "Cursor", "Kind", "Pointer"]

UNDEFINED = 2**64 - 1
"""The address of what is not there."""


class Kind(Enum):
    """What a block is for: blocks of one kind are asked for ahead together."""

    HEADER = auto()
    """An object header: a group or a dataset."""

    PART = auto()
    """Goes with another block, which is of no use without it."""

    SYMBOLS = auto()
    """Names of a group, in the old format."""

    HEAP = auto()
    """Texts of the names of a group, in the old format."""

    LINKS = auto()
    """Names of a group or its attributes, in the new format."""

    INDEX = auto()
    """Where an index of chunks begins."""

    NODE = auto()
    """The rest of an index of chunks."""

    DATA = auto()
    """Stored elements."""


class Pointer(NamedTuple):
    """Where a block of metadata is.

    Parameters
    ----------
    kind : Kind
        What it is for.
    place : int
        Its first byte.
    nbytes : int
        How long it is, or how much of it is worth having.
    detail : tuple of int
        What must be known to read it, and does not stand in it.
    """

    kind: Kind
    place: int
    nbytes: int
    detail: tuple[int, ...] = ()


class Cursor:
    """Reads numbers from bytes, one after the other.

    Examples
    --------
    >>> cursor = Cursor(b"SNOD" + bytes([1, 0, 2, 0]), 6)
    >>> cursor.number(2), cursor.left
    (2, 0)
    """

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self.data) - self.at

    def number(self, size: int) -> int:
        """Read an unsigned number; raises IndexError where the bytes end."""
        return int.from_bytes(self.take(size), "little")

    def numbers(self, count: int, size: int = 8) -> list[int]:
        """Read several, as many as there are."""
        return [self.number(size) for _ in range(min(count, self.left // size))]

    def take(self, size: int) -> bytes:
        """Read bytes."""
        if not 0 <= size <= self.left:
            raise IndexError("the block ends here")
        self.at += size
        return self.data[self.at - size : self.at]
