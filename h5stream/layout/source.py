"""What a scan needs of a file, wherever it is.

A scan is a function of an open `h5py.File`. A source may call it several times, until all that
HDF5 asks for is there, so it must only look. Local files are opened as they are; remote ones are
seen through a copy in memory of a part of it (`partial_file`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from h5stream.layout.model import Fingerprint
from h5stream.layout.opening import fingerprint_of, open_checked

__all__ = ["LocalSource", "Source"]

T = TypeVar("T")


class Source(Protocol):
    """A file that can be scanned."""

    @property
    def name(self) -> str:
        """What messages and layouts call it."""

    @property
    def alone(self) -> bool:
        """Whether it must not lead to other files: to local ones, above all."""

    def run(self, action: Callable[[Any], T]) -> T:
        """Call `action` with the open `h5py.File`, as often as it takes."""

    def fingerprint(self, holder: str) -> Fingerprint:
        """Read the fingerprint of this file, or of another that it led to."""

    def read(self, holder: str, offset: int, size: int) -> bytes:
        """Read bytes of this file, or of another that it led to."""


@dataclass(frozen=True)
class LocalSource:
    """A file at a path."""

    name: str
    alone: ClassVar[bool] = False

    def run(self, action: Callable[[Any], T]) -> T:
        """Open it, call `action` once, and close it."""
        with open_checked(self.name) as file:
            return action(file)

    def fingerprint(self, holder: str) -> Fingerprint:
        """Look at the file system."""
        return fingerprint_of(holder)

    def read(self, holder: str, offset: int, size: int) -> bytes:
        """Read a little of a file."""
        with Path(holder).open("rb") as raw:
            raw.seek(offset)
            return raw.read(size)
