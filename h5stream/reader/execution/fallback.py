"""Reads what cannot be read directly through h5py, whole row ranges at a time.

HDF5 works behind one process-wide lock, so reads here take turns. Handles belong to one process
and one reader; they are opened at the first read and never cross a fork.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from h5stream.cancellation import NEVER, Cancellation
from h5stream.errors import DecodeError, FetchError
from h5stream.fetch.descriptors import descriptor_limit, explain_too_many
from h5stream.layout import DatasetLayout, Extents, PartialFile
from h5stream.layout.heaps import check_dataset_heap
from h5stream.layout.model import Stacking
from h5stream.layout.opening import open_h5
from h5stream.system import after_fork

__all__ = ["FallbackFile", "can_hdf5_undo"]

_LOCK = threading.RLock()
_OPEN: OrderedDict[int, weakref.ref[FallbackFile]] = OrderedDict()
"""Those of this process that are open, by number, the one used last at the end."""

_NUMBERS = itertools.count()
_SHARE = 2
"""Half as many files are open here as are read directly."""


def _renew_lock() -> None:
    global _LOCK
    _LOCK = threading.RLock()
    _OPEN.clear()


after_fork(_renew_lock)  # a thread of the parent may have held it


def can_hdf5_undo(filter_id: int) -> bool:
    """Tell whether HDF5, with hdf5plugin where it is installed, has this filter."""
    with _LOCK:
        if not h5py.h5z.filter_avail(filter_id) and importlib.util.find_spec("hdf5plugin"):
            importlib.import_module("hdf5plugin")
        return bool(h5py.h5z.filter_avail(filter_id))


class FallbackFile:
    """One file, read through h5py.

    Parameters
    ----------
    path : str
        The file.
    source : PartialFile, optional
        How to look at it, if it is remote.
    """

    def __init__(self, path: str, source: PartialFile | None = None) -> None:
        self.path = path
        self._source = source
        self._file: Any = None
        self._process = -1
        self._number = next(_NUMBERS)
        self._sound: set[str] = set()

    def read(
        self,
        layout: DatasetLayout,
        start: int,
        stop: int,
        arrived: Extents | None = None,
        until: Cancellation = NEVER,
    ) -> np.ndarray:
        """Read rows ``start`` to ``stop`` of a dataset, converted by HDF5.

        Parameters
        ----------
        layout : DatasetLayout
            The dataset.
        start, stop : int
            Its rows.
        arrived : Extents, optional
            Bytes of a remote file that serve them.
        until : Cancellation
            Ends waiting for others.

        Raises
        ------
        FetchError
            If the file cannot be opened, or its bytes do not arrive.
        DecodeError
            If HDF5 cannot read the rows.
        """
        for spec in layout.filters:
            can_hdf5_undo(spec.id)
        rows = self._run(partial(self._read, layout, start, stop), arrived, until)
        if layout.dtype == ml_dtypes.bfloat16:
            rows = rows.astype(ml_dtypes.bfloat16)
        if layout.vlen is not None and not layout.vlen.dtype.isnative:
            rows = _in_order(rows, layout.vlen.dtype)
        moved = layout.axis and layout.stacking is None
        return np.moveaxis(rows, layout.axis, 0) if moved else rows

    def read_scalar(self, layout: DatasetLayout) -> Any:
        """Read a dataset without axes.

        Raises
        ------
        DecodeError
            If HDF5 cannot read it.
        """
        return self._run(partial(self._read, layout, None, None), None, NEVER)

    def _run(self, read: Callable[[Any], Any], arrived: Extents | None, until: Cancellation) -> Any:
        """Call a function of the open file."""
        if self._source is None:
            with _LOCK:
                return read(self._open())
        rows = self._source.run(read, arrived, until)
        self._source.forget()
        return rows

    def _read(self, layout: DatasetLayout, start: int | None, stop: int | None, file: Any) -> Any:
        try:
            dataset = file[layout.path]
            if layout.vlen is not None and layout.path not in self._sound:
                check_dataset_heap(dataset)
                self._sound.add(layout.path)
            if start is None:
                return dataset[()]
            if layout.flat:
                return dataset[()].reshape(-1)[start:stop]
            if layout.stacking is not None:
                return _read_elements(dataset, layout, layout.stacking, start, stop or 0)
            return _read_rows(dataset, layout, start, stop)
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            raise DecodeError(
                f"{self.path}: HDF5 cannot read rows {start} to {stop} of {layout.path!r}: {error}",
                url=self.path,
                dataset=layout.path,
            ) from error

    def close(self) -> None:
        """Close the file, if this process opened it."""
        with _LOCK:
            if self._file is not None and self._process == os.getpid():
                self._file.close()
            self._file = None
            _OPEN.pop(self._number, None)

    def _open(self) -> Any:
        if self._file is None or self._process != os.getpid():
            _make_room()
            try:
                self._file = open_h5(self.path)
            except OSError as error:
                raise explain_too_many(self.path, error) or FetchError(
                    f"{self.path}: cannot be opened any more: {error}", url=self.path
                ) from error
            self._process = os.getpid()
            _OPEN[self._number] = weakref.ref(self)
        _OPEN.move_to_end(self._number)
        return self._file


def _make_room() -> None:
    """Close what was used longest ago, so that one more file can be opened."""
    while len(_OPEN) >= max(1, descriptor_limit() // _SHARE):
        _number, known = _OPEN.popitem(last=False)
        file = known()
        if file is not None:
            file.close()


def _in_order(rows: np.ndarray, stored: np.dtype[Any]) -> np.ndarray:
    """Name the byte order of elements of variable length that h5py left as it was."""
    if stored.names is not None or not _leaves_order():
        return rows
    named = np.empty(len(rows), object)
    for number, row in enumerate(rows):
        named[number] = np.asarray(row).view(stored)
    return named


@functools.cache
def _leaves_order() -> bool:
    """Tell whether h5py hands out such numbers unswapped, as if they were the machine's (3.16)."""
    foreign = np.dtype(np.int32).newbyteorder("S")
    with _LOCK, h5py.File("order", "w", driver="core", backing_store=False) as file:
        rows = file.create_dataset("x", 1, h5py.vlen_dtype(foreign))
        rows[0] = [1]
        return bool(rows[0][0] != 1)


def _read_rows(dataset: Any, layout: DatasetLayout, start: int, stop: int | None) -> np.ndarray:
    """Read rows in the order of the stored axes, no more of each than what the layout has."""
    axis, inner = layout.axis, layout.inner
    if inner is None:
        return dataset[(*(slice(None),) * axis, slice(start, stop))]
    spans = [slice(runs[0][0], runs[-1][1]) for runs in inner]
    index = (*spans[:axis], slice(start, stop), *spans[axis:])[: dataset.ndim]
    rows = dataset[index]
    for number, runs in enumerate(inner):
        if len(runs) > 1:
            kept = [np.arange(first, last) - runs[0][0] for first, last in runs]
            rows = rows.take(np.concatenate(kept), axis=number + (number >= axis))
    return rows


def _read_elements(
    dataset: Any, layout: DatasetLayout, stacking: Stacking, start: int, stop: int
) -> np.ndarray:
    """Read elements of sequences, each sequence by itself; zeros stand between them."""
    padded, lanes = stacking.padded, stacking.lanes
    parts: list[np.ndarray] = []
    for group in range(start // padded, -(-stop // padded)):
        first = max(start - group * padded, 0)
        last = min(stop - group * padded, padded)
        within = slice(min(first, stacking.length), min(last, stacking.length))
        index = [slice(None)] * dataset.ndim
        index[0], index[stacking.axis] = slice(group * lanes, (group + 1) * lanes), within
        read = np.moveaxis(dataset[tuple(index)], stacking.axis, 0)
        room = np.zeros((last - first, lanes, *read.shape[2:]), read.dtype)
        room[: len(read), : read.shape[1]] = read
        parts.append(room if lanes > 1 else room[:, 0])
    rows = np.concatenate(parts)
    for number, runs in enumerate(layout.inner or (), 1):
        kept = np.concatenate([np.arange(*run) for run in runs])
        rows = rows.take(kept, axis=number)
    return rows
