"""What all writers of files share: names, refusals, threads, and how a file is closed."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from h5stream.errors import ConfigError, H5StreamError, WriteError
from h5stream.system import available_cores
from h5stream.write.arrays import ChunkQueue
from h5stream.write.column_writers import Storage
from h5stream.write.filters import Compression, filters_for
from h5stream.write.output import GrowingOutput, MemoryOutput, NewOutput, Output

__all__ = ["FileWriter", "count_of"]


class FileWriter(ABC):
    """Writes a file that appears whole, or grows in whole steps.

    Parameters
    ----------
    path : path
        The file.
    mode : {"new", "append", "memory"}
        "new": it appears under its name when the writer is closed without an error. "append": it
        is there, or is made, and grows with each `flush`. "memory": it has no name, and is gone
        when the writer is closed.
    overwrite : bool
        Whether a file of that name is replaced by a new one.
    compression, level, checksum
        What is done to chunks.
    chunk_bytes : int
        About how large a chunk is, decoded.
    threads : int or None
        How many threads compress; None: one for each core.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Literal["new", "append", "memory"],
        overwrite: bool,
        compression: Compression,
        level: int | None,
        checksum: bool,
        chunk_bytes: int,
        threads: int | None,
    ) -> None:
        self.path = Path(path)
        self._chunk_bytes = count_of("chunk_bytes", chunk_bytes) or 1
        self._filters = partial(filters_for, compression, level, bool(checksum))
        self._filters(1)
        self._may_drop_codec = compression == "auto"
        self._is_closed = False
        count = count_of("threads", threads) or available_cores()
        self._output = _open(self.path, mode, overwrite)
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="h5stream-writer")
        self._queue = ChunkQueue(self._threads, 2 * count)
        if not self._is_new:
            try:
                self._go_on()
            except BaseException:
                self.discard()
                raise

    @abstractmethod
    def _go_on(self) -> None:
        """Take over what the file holds."""

    @abstractmethod
    def _settle(self) -> None:
        """Bring the file up to all that was taken."""

    def _prepare(self) -> None:  # noqa: B027 - few writers keep anything waiting
        """Take what waits, before anything is settled."""

    def _end(self) -> None:  # noqa: B027 - nor need to know
        """Note that there will be no more, before the file is closed."""

    @property
    def _is_new(self) -> bool:
        return isinstance(self._output, NewOutput)

    def _storage(self, chunk_rows: Callable[[int], int], n_rows: int | None = None) -> Storage:
        return Storage(self._filters, self._may_drop_codec, self._chunk_bytes, chunk_rows, n_rows)

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._is_closed

    def flush(self) -> None:
        """Write all rows so far; in mode "append" they are then there, even after kill -9.

        A new file is seen only when it is closed.

        Raises
        ------
        WriteError
            If the disk is full or the file cannot be written.
        """
        self._require_open()
        self._prepare()
        if not self._is_new:
            with self._explained():
                self._settle()
                self._output.commit()

    def close(self) -> None:
        """Write what is left, and give a new file its name.

        Raises
        ------
        WriteError
            If that fails: there is no new file then, and a file that grows is as it was after the
            last `flush`.
        """
        if self._is_closed:
            return
        try:
            self._prepare()
            self._end()
            with self._explained():
                self._settle()
                self._output.close()
        except BaseException:
            self.discard()
            raise
        self._is_closed = True
        self._threads.shutdown()

    def discard(self) -> None:
        """Leave no new file, and a file that grows as it was after the last `flush`."""
        if not self._is_closed:
            self._is_closed = True
            self._threads.shutdown(cancel_futures=True)
            self._output.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Close; after an error leave no new file, but keep the whole rows of one that grows."""
        if kind is None or not self._is_new:
            self.close()
        else:
            self.discard()

    def _require_open(self) -> None:
        if self._is_closed:
            raise WriteError(f"{self.path}: the writer is closed")

    @contextlib.contextmanager
    def _explained(self) -> Any:
        """Turn what the system or HDF5 says into an error of ours; nothing more is written then."""
        try:
            yield
        except H5StreamError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            self.discard()
            raise WriteError(
                f"{self.path}: cannot be written: {error}; what was there before is as it was"
            ) from error


def _open(path: Path, mode: str, overwrite: bool) -> Output:
    if mode == "memory":
        return MemoryOutput()
    if mode == "append":
        if overwrite:
            raise ConfigError('mode="append" goes without overwrite=')
        return GrowingOutput(path)
    if mode != "new":
        raise ConfigError(f'mode must be "new" or "append", not {mode!r}')
    return NewOutput(path, overwrite=overwrite)


def count_of(name: str, value: Any, least: int = 1) -> int | None:
    """Check an argument that is an integer of some least size, or None."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} must be an integer of {least} or more, not {value!r}")
    return int(value)
