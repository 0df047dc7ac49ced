"""Decides how a dataset is read: directly, or through h5py and why.

1. Element types, storage and filters that are not read directly go through h5py, if HDF5 can.
2. What is left is tried, for one dataset of each kind (`kinds`): one whole chunk and one at the
   edge (or the first and last rows, if the dataset is contiguous) are read both ways. Where the
   two differ, h5py has the say. Filters that a plugin undoes are not tried so: plugins crash on
   damaged chunks.
3. What does not decode to a chunk of the right size is damaged, whatever HDF5 makes of it: it does
   not compare sizes, and gives out what its memory held before. Only chunks at the edge may lie
   unfiltered where filters are due, if all of them have the size of such a chunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from h5stream.decode import FLETCHER32, LZF, Pipeline, Scratch, describe_filter
from h5stream.errors import DecodeError, FetchError, UnsupportedError
from h5stream.fetch import DataFile, LocalFile
from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout, Fingerprint, PartialFile, Storage
from h5stream.layout.plugins import does_hdf5_end
from h5stream.opening.peek import PeekedFile
from h5stream.reader.catalog import Route
from h5stream.reader.execution.executor import run_direct
from h5stream.reader.execution.fallback import FallbackFile, can_hdf5_undo
from h5stream.reader.execution.run import Run
from h5stream.reader.planning.direct import plan_direct
from h5stream.reader.planning.ranges import ranges_of_rows
from h5stream.reader.tasks import Destination, Target

__all__ = ["choose_route", "is_checked", "load_checked", "reason_against"]

_FIRST_PLUGIN = 256
"""Filters from here on are registered, and undone by plugins; h5py brings `LZF`."""

_CHECKSUM_BYTES = 4
_MOST_CHECKED_BYTES = 64 * 2**20
_MOST_FETCHED_BYTES = 16 * 2**20


def choose_route(
    layout: DatasetLayout,
    fingerprint: Fingerprint | None = None,
    source: PartialFile | None = None,
) -> Route:
    """Decide how to read a dataset.

    Parameters
    ----------
    layout : DatasetLayout
        With its chunk table, if the self-check should run.
    fingerprint : Fingerprint, optional
        Of the file that holds it; without, the self-check is left out. Elements of variable
        length have one of their own, when their descriptors are read.
    source : PartialFile, optional
        How to look at that file, if it is remote: each byte is fetched once for both ways.

    Raises
    ------
    UnsupportedError
        If neither h5stream nor HDF5 can undo one of its filters.
    DecodeError
        If a chunk has a size that it cannot have, or does not decode to its size.
    """
    _refuse_sizes(layout)
    reason = reason_against(layout)
    if reason is not None:
        _require_filters(layout)
        return Route(reason)
    if fingerprint is not None and is_checked(layout):
        return Route(_check(layout, fingerprint, source))
    return Route()


def _refuse_sizes(layout: DatasetLayout) -> None:
    """Refuse chunks of sizes that they cannot have: HDF5 does not look, and reads what is beside.

    Without compression they are as long as their elements, with it longer than their checksums.
    """
    table = layout.table
    if table is None or not len(table) or layout.indirect:
        return
    for mask in np.unique(table.filter_mask).tolist():
        expected = Pipeline(layout.filters, layout.chunk_nbytes).stored_nbytes(mask)
        least = 1 + sum(
            _CHECKSUM_BYTES
            for position, spec in enumerate(layout.filters)
            if spec.id == FLETCHER32 and not mask >> position & 1
        )
        is_wrong = table.size < least if expected is None else table.size != expected
        wrong = np.flatnonzero((table.filter_mask == mask) & is_wrong)
        if len(wrong):
            wanted = f"at least {least}" if expected is None else str(expected)
            how = "" if expected is None else " without compression"
            place = np.unravel_index(int(table.index[wrong[0]]), layout.grid)
            offset = tuple(
                int(at) * size for at, size in zip(place, layout.chunks or (), strict=True)
            )
            raise DecodeError(
                f"{layout.file}: the chunk of {layout.path!r} at {offset} is stored{how} in "
                f"{table.size[wrong[0]]} bytes, expected {wanted}; it is damaged, copy the file "
                "again",
                url=layout.file,
                dataset=layout.path,
                chunk_offset=offset,
            )


def _has_unfiltered_edges(layout: DatasetLayout) -> bool:
    """Tell whether chunks at the edges may lie unfiltered, though nothing in the file says so."""
    table = layout.table
    if table is None or layout.chunks is None:
        return False
    places = np.stack(np.unravel_index(table.index, layout.grid), axis=1)
    ends = (places + 1) * np.array(layout.chunks)
    partial = (ends > np.array(layout.shape)).any(axis=1)
    return bool(partial.any()) and bool((table.size[partial] == layout.chunk_nbytes).all())


def _may_hdf5_decide(layout: DatasetLayout, *, is_decoded: bool) -> bool:
    """Tell whether HDF5 is asked about some chunks: its plugins crash on what is damaged.

    Only where chunks at the edges may lie unfiltered, and do not decode here, HDF5 alone knows.
    """
    if all(spec.id < _FIRST_PLUGIN or spec.id == LZF for spec in layout.filters):
        return True
    if is_decoded or not all(does_hdf5_end(spec.id) for spec in layout.filters):
        return False
    return _has_unfiltered_edges(layout)


def load_checked(layouts: Sequence[DatasetLayout], source: PartialFile) -> None:
    """Fetch what the self-checks of some datasets of a remote file will read, all at once."""
    file = PeekedFile(source)
    file.load(
        [
            ranges_of_rows(layout, *sample)
            for layout in layouts
            if is_checked(layout)
            for sample in _affordable(layout, _rows_to_check(layout))
        ]
    )


def is_checked(layout: DatasetLayout) -> bool:
    """Tell whether the self-check says anything about a dataset."""
    return reason_against(layout) is None and bool(layout.n_rows) and layout.vlen is None


def reason_against(layout: DatasetLayout) -> str | None:
    """Say why a dataset cannot be read directly, None if nothing speaks against it."""
    if layout.indirect:
        return layout.indirect
    if layout.axis and layout.storage is not Storage.CHUNKED:
        return f"its samples lie along axis {layout.axis} and are not chunked"
    if layout.storage not in (Storage.CHUNKED, Storage.CONTIGUOUS):
        return f"its storage is {layout.storage}"
    return Pipeline.misfit(layout.filters)


def _require_filters(layout: DatasetLayout) -> None:
    for spec in layout.filters:
        if not does_hdf5_end(spec.id):
            raise UnsupportedError(
                f"{layout.file}: {layout.path!r} is compressed with "
                f"{describe_filter(spec.id, spec.name)} beside filters that only HDF5 undoes, and "
                "HDF5 finds no end in damaged chunks; write it again with one compressor"
            )
        if not can_hdf5_undo(spec.id):
            raise UnsupportedError(
                f"{layout.file}: {layout.path!r} is compressed with "
                f"{describe_filter(spec.id, spec.name)}, which neither h5stream nor the installed "
                "HDF5 can undo; `pip install hdf5plugin` has the registered filters"
            )


def _check(
    layout: DatasetLayout, fingerprint: Fingerprint, source: PartialFile | None
) -> str | None:
    """Read a sample of rows both ways; return why not to trust the direct way."""
    file: DataFile = LocalFile(layout.file, fingerprint)
    samples = _rows_to_check(layout)
    if source is not None:
        file, samples = PeekedFile(source), _affordable(layout, samples)
        load_checked([layout], source)
    fallback = FallbackFile(layout.file, source)
    try:
        for start, stop in samples:
            found: np.ndarray | DecodeError
            try:
                found = _read_directly(layout, file, start, stop)
            except DecodeError as error:
                found = error
            if not _may_hdf5_decide(layout, is_decoded=not isinstance(found, DecodeError)):
                if isinstance(found, DecodeError):
                    raise found
                continue
            try:
                expected = fallback.read(layout, start, stop)
            except (DecodeError, FetchError):
                continue  # damaged for HDF5 too: reading it will say so, with the chunk's place
            if isinstance(found, DecodeError):
                if not _has_unfiltered_edges(layout):
                    raise found
                return f"the self-check failed on rows {start} to {stop}: {found}"
            if not _same(found, expected.astype(found.dtype)):
                return f"the self-check differed on rows {start} to {stop}"
    finally:
        fallback.close()
    return None


def _affordable(layout: DatasetLayout, samples: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Leave out samples of a remote file that take too long to fetch; the smaller come first."""
    kept, nbytes = [], 0
    sizes = [(int(ranges_of_rows(layout, *sample)[1].sum()), sample) for sample in samples]
    for size, sample in sorted(sizes):
        nbytes += size
        if nbytes <= _MOST_FETCHED_BYTES:
            kept.append(sample)
    return kept


def _same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Compare bits, but not the padding of compound types, which HDF5 leaves undefined."""
    if found.dtype.names is None:
        return found.tobytes() == expected.tobytes()
    return all(_same(found[name], expected[name]) for name in found.dtype.names)


def _read_directly(layout: DatasetLayout, file: DataFile, start: int, stop: int) -> np.ndarray:
    field = DenseField("checked", layout)
    rows = np.empty((stop - start, *field.row_shape), field.dtype)
    spans = (np.array([start]), np.array([stop]), np.array([0]))
    destination, scratch = Destination((Target(field, 0),)), Scratch()
    for task in plan_direct(layout, None, spans, destination, remote=False):
        run_direct(task.body, Run(file.fetch(task.offset, task.size), [rows], scratch))
    return rows


def _rows_to_check(layout: DatasetLayout) -> list[tuple[int, int]]:
    """Pick rows of one whole and one edge chunk, as many as fit in a bound of bytes."""
    n = layout.n_rows
    at_once = max(1, min(n, _MOST_CHECKED_BYTES // max(1, layout.row_nbytes)))
    if layout.chunk_rows is None:
        rows = min(at_once, 8)
        return [(0, rows), (n - rows, n)]
    table = layout.table
    stored = table.index // layout.chunks_per_chunk_row if table is not None else np.empty(0)
    if not len(stored) or math.prod(layout.shape) == 0:
        return [(0, 1)]
    picked = {int(stored[0]), int(stored[-1])}
    starts = [chunk_row * layout.chunk_rows for chunk_row in sorted(picked)]
    return [(start, min(n, start + min(layout.chunk_rows, at_once))) for start in starts]
