"""Compares rows with those that were made of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from h5stream.columns import Ragged, Sparse
from h5stream.conventions.schema import ROWS
from h5stream.errors import LayoutError, WriteError
from h5stream.fields import Asked, Subset
from h5stream.opening import Paths, Sources, expand_sources
from h5stream.pipes import Pipe
from h5stream.plan.seeds import mixed
from h5stream.repacking.rows import (
    Progress,
    batch_rows_of,
    batches,
    infer_columns,
    length,
    open_in_order,
    tell_nobody,
)
from h5stream.write.columns import ColumnSpec
from h5stream.write.values import At, fit
from h5stream.write.written import columns_of

__all__ = ["compare", "verify"]


def verify(
    sources: Sources,
    output: Paths,
    fields: Mapping[str, Asked] | Sequence[str] | None = None,
    *,
    subset: Subset = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> int:
    """Compare the rows of files with those that `repack` made of them, bit by bit.

    Parameters
    ----------
    sources, fields, subset, storage_options
        As they were given to `repack`.
    output : path or sequence of paths
        What it wrote, which may be shuffled; or any other files with fields of these names.
    progress : callable, optional
        Told what is done, how many rows of how many.

    Returns
    -------
    int
        How many rows are the same.

    Raises
    ------
    WriteError
        If they differ, naming the first row where they do, or, if they are shuffled, the column.

    Examples
    --------
    >>> import h5stream as h5s
    >>> h5s.verify(h5s.example_file(), h5s.example_file(), ["X"])
    700
    """
    paths = expand_sources(output)
    numbered = ROWS in _columns_of(paths[0])
    stream = open_in_order(sources, fields, subset, storage_options, numbered=numbered)
    return compare(stream, paths, progress or tell_nobody)


def compare(stream: Pipe, paths: Sequence[str], tell: Progress) -> int:
    """Compare rows of a stream with those of files, bit by bit; return how many there are."""
    names = [name for name in infer_columns(stream) if name != ROWS]
    columns = _columns_of(paths[0])
    wanted = [*names, *([ROWS] if ROWS in columns else [])]
    if not columns:  # no writer took compounds apart
        wanted = list(stream.catalog.columns)
    fields, rows = {name: name for name in wanted}, batch_rows_of(stream)
    output = open_in_order(paths, fields, None, None, numbered=False, batch_rows=rows)
    n_rows = stream.catalog.n_rows
    if output.catalog.n_rows != n_rows:
        raise WriteError(f"{paths[0]}: has {output.catalog.n_rows} rows, expected {n_rows}")
    specs = infer_columns(output)
    check = _compare_sums if ROWS in columns else _compare_pairs
    check(stream, output, {name: specs[name] for name in names}, tell)
    return n_rows


def _columns_of(path: str) -> Collection[str]:
    """List the columns of a file of a writer; of another none."""
    try:
        return columns_of(path)
    except LayoutError:
        return ()


def _compare_pairs(
    stream: Pipe, output: Pipe, specs: Mapping[str, ColumnSpec], tell: Progress
) -> None:
    done, n_rows = 0, stream.catalog.n_rows
    for one, other in zip(batches(stream), batches(output), strict=True):
        for name, spec in specs.items():
            at = At(name, done)
            pair = fit(one[name], spec, at), fit(other[name], spec, at)
            if _are_same(*pair):
                continue
            differ = _hashes(pair[0]) != _hashes(pair[1])
            if differ.any():
                raise WriteError(
                    f"{output.catalog.files[0].path}: row {done + int(np.argmax(differ))} of "
                    f"{name!r} is not as it was in {stream.catalog.files[0].path}"
                )
        done += length(one)
        tell("comparing", done, n_rows)


def _compare_sums(
    stream: Pipe, output: Pipe, specs: Mapping[str, ColumnSpec], tell: Progress
) -> None:
    """Compare rows in any order: by sums of what rows and their numbers come to."""
    n_rows, sums = stream.catalog.n_rows, []
    for side, each in enumerate((stream, output)):
        done, found = 0, dict.fromkeys(specs, 0)
        for batch in batches(each):
            numbers = np.asarray(batch[ROWS])
            for name, spec in specs.items():
                hashes = _hashes(fit(batch[name], spec, At(name, done)))
                mark = mixed(hashes ^ mixed(numbers.astype(np.uint64)))
                found[name] = (found[name] + int(mark.sum(dtype=np.uint64))) % 2**64
            done += len(numbers)
            tell("comparing", (done + side * n_rows) // 2, n_rows)
        sums.append(found)
    for name in specs:
        if sums[0][name] != sums[1][name]:
            raise WriteError(
                f"{output.catalog.files[0].path}: rows of {name!r} are not those of "
                f"{stream.catalog.files[0].path}"
            )


def _are_same(one: Any, other: Any) -> bool:
    """Compare all bits of two columns at once."""
    if isinstance(one, Sparse):
        one, other = one.in_order(), other.in_order()
        parts = [(one.data, other.data), (one.indices, other.indices), (one.indptr, other.indptr)]
    elif isinstance(one, Ragged):
        parts = [(one.values, other.values), (one.offsets, other.offsets)]
    else:
        parts = [(one, other)]
    return all(_bits(a).shape == _bits(b).shape and (_bits(a) == _bits(b)).all() for a, b in parts)


def _bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _hashes(column: Any) -> np.ndarray:
    """Return a number for each row, which bits of the row that differ will hardly leave alone."""
    if isinstance(column, Sparse):
        column = column.in_order()
        return _hashes(Ragged(column.indices, column.indptr)) ^ mixed(
            _hashes(Ragged(column.data, column.indptr))
        )
    if isinstance(column, Ragged):
        words, lengths = _words(column.values), column.lengths
    else:
        words, lengths = _words_of_rows(column), np.ones(len(column), np.int64)
    width = words.shape[1]
    ends = np.cumsum(lengths) * width
    starts = ends - lengths * width
    places = np.arange(words.size) - np.repeat(starts, lengths * width)
    products = words.reshape(-1) * (mixed(places.astype(np.uint64)) | np.uint64(1))
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(products, dtype=np.uint64)])
    return mixed(sums[ends] - sums[starts] + mixed(lengths.astype(np.uint64)))


def _words_of_rows(rows: np.ndarray) -> np.ndarray:
    """See the bytes of each row as whole numbers, as wide as they divide into."""
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1 if rows.size else 0).view(np.uint8)
    width = next(size for size in (8, 4, 2, 1) if flat.shape[1] % size == 0)
    return flat.view(f"u{width}").astype(np.uint64, copy=False)


def _words(values: np.ndarray) -> np.ndarray:
    """See the bytes of each element as whole numbers."""
    values = np.ascontiguousarray(values)
    flat = values.reshape(len(values), int(np.prod(values.shape[1:])))
    size = flat.dtype.itemsize
    part = next(width for width in (8, 4, 2, 1) if size % width == 0)
    return flat.view(f"u{part}").astype(np.uint64) if flat.size else flat.astype(np.uint64)
