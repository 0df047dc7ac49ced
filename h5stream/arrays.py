"""Reads one dataset, or a part of it, into one array.

1. One axis of the selection counts rows: axis 0, or, where that has too few chunks to keep all
   threads busy, the one that has most. Chunks that hold nothing of the others are left out.
2. The rows, in order, are read in groups of about 32 MiB. Rows that lie together go straight to
   their place in the array. Where little lies between the rows of a group, all of it is read and
   the rows are picked out; else they are read by themselves.
3. The jobs of a few groups are in the works at once, on as many threads as were asked for.

Scalars, and elements of variable length, are read as a whole or by their rows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from h5stream.cancellation import Cancellation
from h5stream.columns import Column
from h5stream.errors import ConfigError
from h5stream.fetch import Access
from h5stream.fields import Dense, DenseField, Field, FileFields, Vlen
from h5stream.fields.inner import crop
from h5stream.fields.make import decode_scalar, make_field, members_of
from h5stream.fields.selection import AxisPart, parse_selection, shape_of_parts
from h5stream.layout import DatasetLayout, Fingerprint
from h5stream.layout.elements import SCALAR
from h5stream.opening.kinds import SoundKinds
from h5stream.opening.routes import choose_route
from h5stream.opening.scanned import ScannedFile
from h5stream.opening.whole import read_whole
from h5stream.plan import Pieces
from h5stream.plan.row_chunks import rows_per_row_chunk
from h5stream.reader.catalog import Catalog, Route
from h5stream.reader.execution.executor import Executor
from h5stream.reader.execution.threads import start_tasks
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.planning.direct import Spans
from h5stream.reader.reader import Reader
from h5stream.reader.stats import Stats
from h5stream.reader.tasks import Destination, ReadTask, Target
from h5stream.system import memory_bytes

__all__ = ["read_array"]

_GROUP_BYTES = 32 * 2**20
_AHEAD = 4
"""Groups that are in the works at once."""

_NEAR_BYTES, _NEAR_BYTES_REMOTE = 32 * 2**10, 4096
"""Rows that lie no further apart are read with what lies between them."""

_LEAST_SHARE = 8
"""So are those that are at least one part in so many of what is read."""

_CHUNKS_PER_THREAD = 4

_OF_ROWS = {Dense: ("axis", "n_rows", "inner"), Vlen: ("n_rows",)}
"""Options of fields that select, as an index does here."""


def read_array(
    found: ScannedFile, selection: Any, access: Access, sound: SoundKinds, *, threads: int
) -> Any:
    """Read a dataset, or a part of it.

    Parameters
    ----------
    found : ScannedFile
        A file that was scanned for this dataset.
    selection : index or None
        See `parse_selection`; or a mask of the dataset's shape.
    access : Access
        The way to the file.
    sound : SoundKinds
        The kinds of elements of variable length that need no more checks.
    threads : int
        How many read and decode.

    Returns
    -------
    numpy.ndarray, NumPy scalar, str or bytes
        What h5py gives, in the machine's byte order; strings as `str`.

    Raises
    ------
    ConfigError, UnsupportedError
        If the selection does not fit, or the elements cannot be read.
    DecodeError, FetchError
        If what is stored is damaged, or does not arrive.
    """
    ((name, spec),) = found.choice.specs.items()
    if not isinstance(spec, Dense | Vlen):
        raise ConfigError(
            f"{found.layout.path}: {name!r} is a group, not a dataset; name one inside it, or "
            "read its rows with h5stream.Dataset"
        )
    plain = type(spec)(spec.path)
    if any(getattr(spec, option) != getattr(plain, option) for option in _OF_ROWS[type(spec)]):
        raise ConfigError(f"{spec}: say with selection= which part of the dataset is wanted")
    reader = _ArrayReader(found, spec, access, sound, threads)
    mask = _as_mask(selection, reader.layout.shape)
    if mask is None:
        return reader.read(parse_selection(selection, reader.layout.shape, reader.what))
    rows = np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))
    whole = (range(size) for size in mask.shape[1:])
    return reader.read((rows, *whole))[mask[rows]]


def _as_mask(selection: Any, shape: Sequence[int]) -> np.ndarray | None:
    """Tell a mask of several axes from an index of one."""
    if not isinstance(selection, np.ndarray) or selection.ndim < 2:
        return None
    return selection if selection.dtype == np.bool_ and selection.shape == tuple(shape) else None


@dataclass(frozen=True, eq=False)
class _ArrayReader:
    """Reads parts of one dataset.

    Parameters
    ----------
    found : ScannedFile
        Of the file that was asked for.
    spec : Dense or Vlen
        The dataset.
    access : Access
        The way to the file.
    sound : SoundKinds
        The kinds of elements of variable length that need no more checks.
    threads : int
        How many read and decode.
    """

    found: ScannedFile
    spec: Dense | Vlen
    access: Access
    sound: SoundKinds
    threads: int

    @property
    def layout(self) -> DatasetLayout:
        """Of the dataset."""
        return self.found.layout.datasets[self.spec.path]

    @property
    def what(self) -> str:
        """What messages call it."""
        return f"{self.layout.file}: {self.layout.path!r}"

    def read(self, parts: Sequence[AxisPart]) -> Any:
        """Read what is selected along each axis."""
        if self.layout.refused == SCALAR:
            return self._read_scalar()
        if isinstance(self.spec, Vlen):
            return self._read_vlen(parts)
        return self._read_dense(parts)

    def _read_whole(self, layout: DatasetLayout) -> Any:
        marks, made = self.found.layout.fingerprints, self.found.layout.made
        return read_whole(layout, marks, self.found.routes, self.access, made, self.sound)

    def _read_scalar(self) -> Any:
        value = self._read_whole(self.layout)
        for member in members_of(self.spec.path, self.layout):
            value = value[member]
        return value if self.layout.vlen is None else decode_scalar(self.layout, value)

    def _read_vlen(self, parts: Sequence[AxisPart]) -> Any:
        """Read elements of variable length; those of several axes are counted in one."""
        layout = self.layout if len(self.layout.shape) == 1 else self.layout.flattened()
        file = replace(self.found.layout, datasets={self.spec.path: layout})
        field = make_field(self.spec.path, self.spec, file, self._read_whole)
        numbers = np.arange(field.n_rows).reshape(self.layout.shape)[_outer(parts)]
        elements = np.empty(numbers.size, object)
        as_bytes = self.layout.vlen is not None and self.layout.vlen.text
        if numbers.size:
            for number, element in enumerate(self._read_rows(field, numbers.reshape(-1))):
                bytes_of = as_bytes and not isinstance(element, str)
                elements[number] = element.tobytes() if bytes_of else element
        return elements.reshape(shape_of_parts(parts))[()]

    def _read_rows(self, field: Field, rows: np.ndarray) -> Column:
        """Read rows of a field that is not dense."""
        file = FileFields(self.layout.file, {field.name: field}, self._marks, rows)
        reader = Reader(Catalog((file,), {}, self.access), Stats())
        every = np.array([len(rows)])
        reads = reader.window(Pieces(np.zeros(1, np.int64), np.zeros(1, np.int64), every))
        _run_groups(reader.executor, [_Group(reads.plan.tasks, reads.memory)], self.threads)
        reads.check_unchanged()
        reads.check_values()
        reader.release_files()
        return reads.columns[field.name]

    @property
    def _marks(self) -> dict[str, Fingerprint]:
        return self.found.layout.fingerprints

    def _read_dense(self, parts: Sequence[AxisPart]) -> Any:
        field = make_field(self.spec.path, self.spec, self.found.layout, None)
        assert isinstance(field, DenseField), "datasets of plain elements are dense"
        shape = (*shape_of_parts(parts), *field.row_shape[len(parts) - 1 :])
        self._require_memory(shape, field)
        if 0 in shape:
            return np.empty(shape, field.dtype)
        axis = self._choose_axis(parts)
        others = [part for number, part in enumerate(parts) if number != axis]
        rows, back = _in_order(parts[axis])
        narrow, route = self._narrowed(field, axis, others)
        dropped = [part for part in parts[:axis] if isinstance(part, int)]
        found = self._read_in_order(narrow, route, rows, axis - len(dropped))
        if back is not None:
            found = found.take(back, axis=axis - len(dropped))
        return found.reshape(shape)[()]

    def _require_memory(self, shape: Sequence[int], field: DenseField) -> None:
        nbytes = math.prod(shape) * field.dtype.itemsize
        if nbytes > memory_bytes():
            raise ConfigError(
                f"{self.what}: what is selected takes {nbytes} bytes, more than this machine's "
                f"{memory_bytes()} bytes of memory; read it in parts, or stream it"
            )

    def _choose_axis(self, parts: Sequence[AxisPart]) -> int:
        """Choose the axis that counts rows: each chunk of rows is one thread's work."""
        chunks = self.layout.chunks
        if chunks is None or not self.found.routes[self.layout.key].direct:
            return 0
        counts = [_count_chunks(part, size) for part, size in zip(parts, chunks, strict=True)]
        enough = counts[0] >= self.threads * _CHUNKS_PER_THREAD or self.threads == 1
        return 0 if enough else int(np.argmax(counts))

    def _narrowed(
        self, field: DenseField, axis: int, others: Sequence[AxisPart]
    ) -> tuple[DenseField, Route]:
        """See no more of the dataset than what the other axes need."""
        route = self.found.routes[self.layout.key]
        layout = self.layout.along(axis)
        whole = [range(size) for size in layout.row_shape]
        inner = None
        if any(not _same(*pair) for pair in zip(others, whole, strict=True)):
            layout, inner = crop(layout, tuple(map(_as_index, others)))
        if layout is not self.layout and route.direct:
            route = choose_route(layout)
        return replace(field, layout=layout, inner=inner), route

    def _read_in_order(
        self, field: DenseField, route: Route, rows: AxisPart, axis: int
    ) -> np.ndarray:
        """Read rows that increase, to an array whose axis `axis` counts them."""
        assert not isinstance(rows, int), "a number is read as one row"
        inner = field.row_shape
        out = np.empty((*inner[:axis], len(rows), *inner[axis:]), field.dtype)
        plans = DatasetPlans({field.layout.key: route}, self.access)
        executor = Executor(plans, Stats())
        groups = self._groups(field, plans, rows, np.moveaxis(out, axis, 0))
        try:
            _run_groups(executor, groups, self.threads)
        finally:  # a file that changed explains any other error, so that is said first
            for mark in self._marks.items():
                executor.files.file(*mark).check_unchanged()
            executor.files.release()
        return out

    def _groups(
        self, field: DenseField, plans: DatasetPlans, rows: range | np.ndarray, column: np.ndarray
    ) -> Iterator[_Group]:
        """Plan rows a few at a time; no chunk serves two groups."""
        layout = field.layout
        step = rows_per_row_chunk(
            chunk_rows=layout.chunk_rows, row_nbytes=layout.row_nbytes, target_bytes=_GROUP_BYTES
        )
        for start, stop in pairwise(_cuts(rows, step)):
            yield self._group(field, plans, rows[start:stop], column[start:stop])

    def _group(
        self, field: DenseField, plans: DatasetPlans, rows: range | np.ndarray, target: np.ndarray
    ) -> _Group:
        row_nbytes = field.layout.row_nbytes
        first, extent = int(rows[0]), int(rows[-1]) - int(rows[0]) + 1
        remote = self.access.is_remote(field.layout.file)
        near = max(_NEAR_BYTES_REMOTE if remote else _NEAR_BYTES, _LEAST_SHARE * row_nbytes)
        destination = Destination((Target(field, 0),))
        if extent == len(rows) or extent * row_nbytes > near * len(rows):
            return _Group(list(plans.rows(self._marks, _runs(rows), destination)), [target])
        read = np.empty((extent, *field.row_shape), field.dtype)
        spans = _runs(range(first, first + extent))
        tasks = list(plans.rows(self._marks, spans, destination))
        return _Group(tasks, [read], (rows, target))


def _outer(parts: Sequence[AxisPart]) -> tuple[np.ndarray, ...]:
    return np.ix_(*(np.atleast_1d(np.asarray(part, np.int64)) for part in parts))


def _in_order(rows: AxisPart) -> tuple[range | np.ndarray, np.ndarray | None]:
    """Return rows that increase, and where among them each wanted one stands, unless in order."""
    if isinstance(rows, int):
        return range(rows, rows + 1), None
    if isinstance(rows, range) and rows.step > 0:
        return rows, None
    listed = np.asarray(rows, np.int64)
    if (np.diff(listed) > 0).all():
        return listed, None
    return np.unique(listed, return_inverse=True)


def _count_chunks(part: AxisPart, size: int) -> int:
    """Count the chunks along an axis that hold what is selected, or a few more."""
    if isinstance(part, int):
        return 1
    first, last = (part[0], part[-1]) if isinstance(part, range) else (part.min(), part.max())
    return min(len(part), abs(int(last) // size - int(first) // size) + 1)


def _same(part: AxisPart, whole: range) -> bool:
    return isinstance(part, range) and part == whole


def _as_index(part: AxisPart) -> Any:
    return list(part) if isinstance(part, range) else part


def _cuts(rows: range | np.ndarray, step: int) -> list[int]:
    """Cut increasing rows at multiples of `step`."""
    if isinstance(rows, range):
        multiples = range((rows[0] // step + 1) * step, rows[-1] + 1, step)
        inside = {-(-(multiple - rows.start) // rows.step) for multiple in multiples}
        return [0, *sorted(inside), len(rows)]
    return [0, *(np.flatnonzero(np.diff(rows // step)) + 1).tolist(), len(rows)]


def _runs(rows: range | np.ndarray) -> Spans:
    """Find the rows that follow each other."""
    if isinstance(rows, range) and rows.step == 1:
        return np.array([rows.start]), np.array([rows.stop]), np.zeros(1, np.int64)
    listed = np.asarray(rows, np.int64)
    begin = np.flatnonzero(np.append(True, np.diff(listed) != 1))
    size = np.diff(np.append(begin, len(listed)))
    return listed[begin], listed[begin] + size, begin


@dataclass(frozen=True, eq=False, slots=True)
class _Group:
    """Tasks that are waited for together.

    Parameters
    ----------
    tasks : sequence of ReadTask
        The tasks.
    memory : sequence of numpy.ndarray
        The buffers that they fill.
    picked : (rows, target) or None
        Which rows of the first buffer are wanted, counted as those of the dataset, and where they
        go; None: all are where they belong.
    """

    tasks: Sequence[ReadTask]
    memory: Sequence[np.ndarray]
    picked: tuple[range | np.ndarray, np.ndarray] | None = None

    def finish(self) -> None:
        """Copy the wanted rows out of all between the first and the last of them."""
        if self.picked is not None:
            rows, target = self.picked
            listed = np.asarray(rows, np.int64)
            target[...] = self.memory[0][listed - listed[0]]


def _run_groups(executor: Executor, groups: Iterable[_Group], threads: int) -> None:
    """Do the tasks of all groups, those of a few groups at once."""
    until = Cancellation()
    pending: deque[tuple[_Group, list[Future[None]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="h5stream-read")
    try:
        for group in groups:
            pending.append((group, start_tasks(pool, executor, group.tasks, group.memory, until)))
            if len(pending) == _AHEAD:
                _finish(pending)
        while pending:
            _finish(pending)
    finally:
        until.cancel()
        for _group, tasks in pending:
            for task in tasks:
                task.cancel()
        pool.shutdown(cancel_futures=True)


def _finish(pending: deque[tuple[_Group, list[Future[None]]]]) -> None:
    """Wait for the group that was started first."""
    group, tasks = pending[0]
    for task in tasks:
        task.result()
    pending.popleft()
    group.finish()
