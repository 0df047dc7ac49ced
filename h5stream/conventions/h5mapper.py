"""Files of h5mapper: features of sources.

A feature ``data/images`` is a group with ``__arr__``, the arrays of all sources one after the
other, and ``__ref__``, a region reference into it for each source id of ``__src__/id``; NULL where
a source has none.

1. ``by="id"``: a row is a source, with its part of each feature (h5mapper's `GetId`). Rows are the
   sources that have all the chosen features. By default those are the largest feature, and all
   that each of its sources has as well; ``__src__/id`` names the sources.
2. ``by="whole"``: a row is an element of the concatenation (`Getter`). Features are taken together
   only if the same elements of them belong to the same sources.
3. References are checked: one for each id (further NULLs do no harm), each to whole rows of its
   own array, no row twice. Tables that are out of step with the ids would give rows to the wrong
   source, so they are refused.

Slices of the concatenation are fields of their own. ``AsSlice(length=100, shift=1,
downsampling=2)`` is ``Slices("wave/__arr__", length=100, shift=1, stride=2)``. `AsFramedSlice` cuts
such a slice, pads this slice by half a frame on both sides if it is centred, and cuts it into
frames: cut the slices here, then pad and `unfold` the batch. A feature of variable shape is two:
``img/arr``, flat, and ``img/shape_``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
from h5py import h5r

from h5stream.conventions.nodes import (
    choose,
    find,
    find_dataset,
    is_text,
    read_bounded,
    read_text_column,
    read_texts,
    refuse,
)
from h5stream.errors import ConfigError, UnsupportedError
from h5stream.fields import Dense, FileSlices, FileSpec, Known, Picked, Vlen
from h5stream.layout.contents import names_in

__all__ = [
    "ARRAY",
    "IDS",
    "KEYS",
    "TABLE",
    "default_fields",
    "field_names",
    "list_features",
    "list_sources",
    "read_bounds",
    "recognise",
]

IDS, KEYS, _OLD_KEYS = "__src__/id", "__src__/ds_keys", "__src__/refed"
ARRAY, TABLE = "__arr__", "__ref__"


def recognise(file: h5py.File) -> bool:
    """Tell whether h5mapper wrote the file."""
    return isinstance(find(file, IDS), h5py.Dataset)


def list_sources(file: h5py.File) -> list[str]:
    """List the ids of the sources.

    Raises
    ------
    LayoutError
        If one stands there twice.
    """
    dataset = find_dataset(file, IDS, 1)
    ids = read_texts(dataset)
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise refuse(dataset, f"holds the id {name!r} twice; its rows cannot be told apart")
        seen.add(name)
    return ids


def list_features(file: h5py.File) -> list[str]:
    """List the paths of the features.

    Raises
    ------
    LayoutError
        If one is listed in the file but is not there.
    """
    found = sorted(_walk(file))
    listed = find(file, KEYS) or find(file, _OLD_KEYS)
    if isinstance(listed, h5py.Dataset):
        for path in (path.strip("/").removesuffix(f"/{ARRAY}") for path in read_texts(listed)):
            if path not in found:
                raise refuse(
                    listed, f"lists {path!r}, which has no {ARRAY} and {TABLE}; it was not filled"
                )
    return found


def _walk(group: h5py.Group, prefix: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the groups with both datasets; hard links only, so that no cycle is followed far."""
    if ARRAY in group and TABLE in group:
        yield prefix.rstrip("/")
        return
    for name in names_in(group) if depth < _DEEPEST else ():
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            node = find(group, name)
            if isinstance(node, h5py.Group):
                yield from _walk(node, f"{prefix}{name}/", depth + 1)


_DEEPEST = 32


def field_names(file: h5py.File) -> list[str]:
    """List the features, and the ids of the sources."""
    return [*list_features(file), IDS]


@dataclass(frozen=True, eq=False)
class _Feature:
    """A feature, and the rows of its array that each source has: -1 to -1 for none."""

    name: str
    array: h5py.Dataset
    starts: np.ndarray
    stops: np.ndarray

    @property
    def path(self) -> str:
        return f"{self.name}/{ARRAY}"

    @property
    def sources(self) -> np.ndarray:
        """Positions of the sources that have it."""
        return np.flatnonzero(self.starts >= 0)

    @property
    def is_plain(self) -> bool:
        """Whether elements are of fixed length: numbers, or short strings."""
        return self.array.dtype.kind != "O"

    @property
    def nbytes(self) -> int:
        return self.array.size * self.array.dtype.itemsize if self.is_plain else 0


def _read_feature(file: h5py.File, name: str, ids: Sequence[str]) -> _Feature:
    array, table = find_dataset(file, f"{name}/{ARRAY}"), find_dataset(file, f"{name}/{TABLE}", 1)
    if not array.shape:
        raise refuse(array, "is a scalar, but should hold rows of all sources")
    if h5py.check_ref_dtype(table.dtype) is not h5py.RegionReference:
        raise refuse(table, f"holds {table.dtype}, not region references")
    references = read_bounded(table)
    if len(references) < len(ids) or any(map(bool, references[len(ids) :])):
        missing = (
            f"{ids[len(references)]!r} is the first id without"
            if len(references) < len(ids)
            else "some belong to no id"
        )
        raise refuse(
            table,
            f"is out of step: {len(references)} references for {len(ids)} source ids, {missing}; "
            f"write the feature anew, or read {name}/{ARRAY} without its ids",
        )
    bounds = np.full((len(ids), 2), -1, np.int64)
    for at, reference in enumerate(references[: len(ids)]):
        if reference:
            bounds[at] = _resolve(table, reference, array, ids[at])
    feature = _Feature(name, array, bounds[:, 0].copy(), bounds[:, 1].copy())
    _check_overlaps(table, feature, ids)
    return feature


def read_bounds(file: h5py.File, name: str, ids: Sequence[str]) -> list[tuple[int, int]]:
    """Return which rows of a feature each source has: start and stop, -1 and -1 for none.

    Raises
    ------
    LayoutError
        If its references do not match the ids.
    """
    feature = _read_feature(file, name, ids)
    return list(zip(feature.starts.tolist(), feature.stops.tolist(), strict=True))


def _resolve(
    table: h5py.Dataset, reference: Any, array: h5py.Dataset, source: str
) -> tuple[int, int]:
    """Turn a region reference into the rows from start to stop."""
    advice = "the reference does not match its id"
    try:
        target = h5r.dereference(reference, table.file.id)
        space = h5r.get_region(reference, table.file.id)
        count = space.get_select_npoints()
        low, high = space.get_select_bounds() if count else ((0,), (-1,))
    except (RuntimeError, OSError, ValueError, TypeError, KeyError) as error:
        raise refuse(
            table, f"has a broken reference for the id {source!r} ({error}); {advice}"
        ) from error
    if target != array.id:
        name = h5py.h5i.get_name(target)
        pointed = name.decode("utf-8", "replace") if name else "something without a name"
        raise refuse(
            table, f"refers for the id {source!r} to {pointed}, not {array.name}; {advice}"
        )
    start, stop = int(low[0]), int(high[0]) + 1
    rows = (stop - start) * int(np.prod(array.shape[1:], dtype=np.int64))
    whole = not count or (
        all(first == 0 for first in low[1:])
        and all(last + 1 == n for last, n in zip(high[1:], array.shape[1:], strict=True))
    )
    if stop > array.shape[0] or count != rows or not whole:
        raise refuse(
            table,
            f"refers for the id {source!r} to no whole rows of {array.name} (rows {start} to "
            f"{stop} of {array.shape[0]}, {count} elements); {advice}",
        )
    return start, stop


def _check_overlaps(table: h5py.Dataset, feature: _Feature, ids: Sequence[str]) -> None:
    """Refuse rows that belong to two sources."""
    filled = np.flatnonzero(feature.stops > feature.starts)
    order = filled[np.argsort(feature.starts[filled], kind="stable")]
    shared = np.flatnonzero(feature.starts[order][1:] < feature.stops[order][:-1])
    if len(shared):
        first, second = sorted((int(order[shared[0]]), int(order[shared[0] + 1])))
        raise refuse(
            table,
            f"gives the same rows to the ids {ids[first]!r} and {ids[second]!r}; the references do "
            "not match their ids",
        )


def default_fields(
    file: h5py.File, fields: Sequence[str] | None = None, *, by: Literal["id", "whole"] = "id"
) -> dict[str, FileSpec]:
    """Say how the fields are laid out.

    Parameters
    ----------
    file : h5py.File
        Written by h5mapper.
    fields : sequence of str or None
        Names of features, and ``__src__/id``; None: the largest feature, and those that all its
        sources have.
    by : {"id", "whole"}
        Rows are sources, or elements of the concatenated arrays.
    """
    if by not in ("id", "whole"):
        raise ConfigError(f'{file.filename}: by must be "id" or "whole", not {by!r}')
    known = list_features(file)
    if fields is not None:
        choose(file, "h5mapper", fields, [*known, IDS])
        if by == "whole" and IDS in fields:
            raise ConfigError(f'{file.filename}: {IDS} has a row for each source: use by="id"')
    ids = list_sources(file)
    wanted = known if fields is None else [name for name in fields if name != IDS]
    features = [_read_feature(file, name, ids) for name in wanted]
    if fields is None:
        features = _alike(features, by)
    if by == "whole":
        return _whole(file, features)
    rows = _common_sources(file, features, len(ids))
    made = {
        item.name: spec
        for item in features
        if (spec := _by_id(file, item, rows, named=fields is not None)) is not None
    }
    if fields is None or IDS in fields:
        made[IDS] = Known(read_text_column([ids[row] for row in rows]))
    return {name: made[name] for name in fields} if fields is not None else made


def _alike(features: Sequence[_Feature], by: str) -> list[_Feature]:
    """Choose the largest feature and those that fit it."""
    filled = [item for item in features if len(item.sources)]
    if not filled:
        return []
    largest = max(filled, key=lambda item: item.nbytes)
    rows = largest.sources
    if by == "id":
        return [item for item in filled if (item.starts[rows] >= 0).all()]
    length = largest.array.shape[0]
    return [
        item
        for item in filled
        if item.array.shape[0] >= length and _same_owners(largest, item, length)
    ]


def _common_sources(file: h5py.File, features: Sequence[_Feature], n_ids: int) -> np.ndarray:
    has = np.ones(n_ids, bool)
    for item in features:
        has &= item.starts >= 0
    if features and not has.any():
        counts = ", ".join(f"{item.name} has {len(item.sources)}" for item in features)
        raise ConfigError(
            f"{file.filename}: no source has all of these features ({counts}); choose features of "
            "the same sources"
        )
    return np.flatnonzero(has)


def _by_id(file: h5py.File, item: _Feature, rows: np.ndarray, *, named: bool) -> FileSpec | None:
    starts, lengths = item.starts[rows], (item.stops - item.starts)[rows]
    equal = len(lengths) > 0 and bool((lengths == lengths[0]).all()) and int(lengths[0]) > 0
    if item.is_plain and equal:
        return FileSlices(_elements(item), length=int(lengths[0]), starts=starts)
    if item.is_plain:
        return FileSlices(_elements(item), starts=starts, stops=starts + lengths)
    if equal and int(lengths[0]) == 1:
        if (starts == np.arange(len(starts))).all():
            return _elements(item, len(starts))
        return Picked(_elements(item), at=starts)
    if not named:
        return None
    raise UnsupportedError(
        f"{file.filename}: {item.name!r} has several strings or lists a source, which make no "
        f'column; read it by="whole"'
    )


def _elements(item: _Feature, n_rows: int | None = None) -> FileSpec:
    filled = None if n_rows is None or n_rows >= item.array.shape[0] else n_rows
    if not item.is_plain:
        return Vlen(item.path, n_rows=filled)
    return Dense(item.path, dtype="U" if is_text(item.array) else None, n_rows=filled)


def _whole(file: h5py.File, features: Sequence[_Feature]) -> dict[str, FileSpec]:
    if not features:
        return {}
    n_rows = min(item.array.shape[0] for item in features)
    for item in features[1:]:
        if not _same_owners(features[0], item, n_rows):
            raise ConfigError(
                f"{file.filename}: rows of {features[0].name!r} and {item.name!r} belong to "
                'different sources, and cannot be taken together by="whole"; use by="id"'
            )
    return {item.name: _elements(item, n_rows) for item in features}


def _same_owners(first: _Feature, second: _Feature, n_rows: int) -> bool:
    """Tell whether the first rows of two features belong to the same sources."""
    a, b = (_owners(item, n_rows) for item in (first, second))
    return a.shape == b.shape and bool((a == b).all())


def _owners(item: _Feature, n_rows: int) -> np.ndarray:
    """List (source, start, stop) of the first rows."""
    sources = np.flatnonzero((item.starts >= 0) & (item.starts < n_rows))
    stops = np.minimum(item.stops[sources], n_rows)
    return np.stack([sources, item.starts[sources], stops])
