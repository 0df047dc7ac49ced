"""Where columns are written: a new file that appears whole, or one that grows in whole steps."""

from __future__ import annotations

import contextlib
import os
import secrets
from abc import ABC, abstractmethod
from pathlib import Path

import h5py

from h5stream.errors import ConfigError, LayoutError, WriteError
from h5stream.layout.journal import JournaledFile
from h5stream.layout.opening import explain_open_failure
from h5stream.system import open_descriptor

__all__ = ["GrowingOutput", "MemoryOutput", "NewOutput", "Output"]

_LIBVER = ("v110", "v110")
"""Indexes of chunks that are found in a few reads, in files that HDF5 1.10 and later read."""

_METADATA_BYTES = 2**18
"""Metadata is gathered in blocks of this size, so that a scan finds it in a few reads."""


class Output(ABC):
    """A file that is being written."""

    @property
    @abstractmethod
    def file(self) -> h5py.File:
        """The file as HDF5 has it open."""

    @abstractmethod
    def find(self, path: str) -> h5py.Dataset | None:
        """Return a dataset that was there before."""

    @abstractmethod
    def commit(self) -> None:
        """Make all that was written last, whatever happens to this process."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the file, with all that was written."""

    @abstractmethod
    def discard(self) -> None:
        """Let go of the file, and of all that was not committed."""


class NewOutput(Output):
    """A file under a temporary name beside its own, which it gets when it is closed.

    Parameters
    ----------
    path : Path
        Its own name.
    overwrite : bool
        Whether a file of that name is replaced.

    Raises
    ------
    ConfigError
        If there is such a file already, or no such folder.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        self._path = path
        self._overwrite = overwrite
        self._file: h5py.File | None = None
        self._temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        self._refuse_existing()
        if not path.parent.is_dir():
            raise ConfigError(f"{path}: there is no folder {path.parent}; make it first")
        if not os.access(path.parent, os.W_OK):
            raise WriteError(f"{path}: the folder {path.parent} cannot be written")

    def _refuse_existing(self) -> None:
        if self._path.exists() and not self._overwrite:
            raise ConfigError(
                f'{self._path} exists; write overwrite=True to replace it, or mode="append" to '
                "go on with it"
            )

    @property
    def file(self) -> h5py.File:
        """The file; made when it is first asked for."""
        if self._file is None:
            self._file = h5py.File(
                self._temporary, "x", libver=_LIBVER, meta_block_size=_METADATA_BYTES
            )
        return self._file

    def find(self, path: str) -> h5py.Dataset | None:
        """Find nothing: the file is new."""
        return None

    def commit(self) -> None:
        """Do nothing: nobody sees the file before it is closed."""

    def close(self) -> None:
        """Give the file its name."""
        self.file.close()
        descriptor = open_descriptor(self._temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._refuse_existing()
        self._temporary.replace(self._path)

    def discard(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with contextlib.suppress(OSError, RuntimeError):  # a full disk fails once more
                self._file.close()
        self._temporary.unlink(missing_ok=True)


class GrowingOutput(Output):
    """A file that is there, and grows by what is committed; it is made if it is not there.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            NewOutput(path, overwrite=False).close()
        self._image = JournaledFile(str(path))
        try:
            self._file = h5py.File(
                self._image, "r+", libver=_LIBVER, meta_block_size=_METADATA_BYTES
            )
        except OSError as error:
            self._image.close()
            raise LayoutError(explain_open_failure(str(path), str(error), True)) from error

    @property
    def file(self) -> h5py.File:
        """The file."""
        return self._file

    def find(self, path: str) -> h5py.Dataset | None:
        """Find a dataset."""
        found = self._file.get(path)
        return found if isinstance(found, h5py.Dataset) else None

    def commit(self) -> None:
        """Sync what was written, and make it seen."""
        self._file.flush()
        self._image.commit()

    def close(self) -> None:
        """Commit, and let go of the file."""
        self._file.close()
        self._image.commit()
        self._image.close()

    def discard(self) -> None:
        """Go back to what was committed."""
        self._image.freeze()
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        self._image.roll_back()
        self._image.close()


class MemoryOutput(Output):
    """A file in memory, which nothing else sees."""

    def __init__(self) -> None:
        self._file = h5py.File(
            f"memory-{secrets.token_hex(8)}",
            "w",
            driver="core",
            backing_store=False,
            libver=_LIBVER,
        )

    @property
    def file(self) -> h5py.File:
        """The file."""
        return self._file

    def find(self, path: str) -> h5py.Dataset | None:
        """Find a dataset."""
        found = self._file.get(path)
        return found if isinstance(found, h5py.Dataset) else None

    def commit(self) -> None:
        """Do nothing: what is in memory lasts no longer than this process."""

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def discard(self) -> None:
        """Let go of the file."""
        self._file.close()
