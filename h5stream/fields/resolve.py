"""Makes what was asked for concrete, with the file open: which datasets, how wide, of which groups.

`resolve` turns paths and patterns into specs that name datasets; `names_of` lists them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from h5stream.columns import stack
from h5stream.errors import ConfigError
from h5stream.fields.specs import (
    Casting,
    Concat,
    Constant,
    Dense,
    FieldSpec,
    Given,
    Grouped,
    Listed,
    Mask,
    Origin,
    Patches,
    Picked,
    Ragged,
    Shape,
    Slices,
    Sparse,
    Table,
    TimeSlices,
    Vlen,
    Whole,
)
from h5stream.layout import DatasetLayout
from h5stream.layout.contents import (
    Kind,
    expand_pattern,
    kind_of,
    matrix_width,
    read_attribute,
)
from h5stream.layout.names import find_named, natural_key, split_members
from h5stream.layout.values import read_decoded, read_ids, read_value, shape_of

__all__ = [
    "Asked",
    "Chosen",
    "FileSlices",
    "FileSpec",
    "Groups",
    "Known",
    "MaskSlices",
    "Meaning",
    "Members",
    "PerFile",
    "Sequences",
    "SingleSlices",
    "index_of",
    "keys_of",
    "names_of",
    "resolve",
    "resolve_known",
]

Asked = str | FieldSpec
"""What a user may ask for as a field."""


@dataclass(frozen=True)
class Groups:
    """Which group each row of a field comes from.

    Parameters
    ----------
    names : tuple of str
        Of the groups, in the order of the rows; different ones.
    texts : tuple of str
        What the ``*`` of the pattern stands for in each.
    places : tuple of tuple of int
        Where h5py lists them.
    order : {"natural", "listed"} or None
        What was asked for.
    pattern : str
        For messages.
    """

    names: tuple[str, ...]
    texts: tuple[str, ...]
    places: tuple[tuple[int, ...], ...]
    order: str | None
    pattern: str


@dataclass(frozen=True)
class Members:
    """A field whose rows are datasets that are known.

    Parameters
    ----------
    paths : tuple of str
        One dataset a row.
    groups : Groups or None
        Where they come from, if they come from groups.
    dtype : str or None
        Convert to this type.
    flat : bool
        Flatten each dataset.
    casting : {"exact", "unsafe"}
        What the conversion may do.
    decode_cf : bool
        Numbers that netCDF packed are decoded.
    axis : int
        Which axis of each dataset counts its elements.
    inner : object
        Which part of each element; see `Dense`.
    elements : slice or None
        Which elements of each dataset.
    rows : {"alike", "ragged"} or None
        Each dataset holds rows of its own, which may be longer in one than in another.
    """

    paths: tuple[str, ...]
    groups: Groups | None = None
    dtype: str | None = None
    flat: bool = False
    casting: Casting = "exact"
    decode_cf: bool = False
    axis: int = 0
    inner: Any = None
    elements: slice | None = None
    rows: Literal["alike", "ragged"] | None = None


@dataclass(frozen=True)
class Sequences:
    """A dataset whose rows are sequences along one of their axes.

    Parameters
    ----------
    base : Dense
        The dataset.
    axis : int
        The axis, counted with the one of the rows.
    alone : str or None
        Why sequences must not lie beside each other in what is read; None: they may.
    """

    base: Any
    axis: int
    alone: str | None = None


@dataclass(frozen=True)
class Chosen:
    """Some columns of a matrix.

    Parameters
    ----------
    base : Dense, Sparse or Known
        The matrix.
    columns : tuple of int
        Which of its columns, in order; different ones.
    """

    base: Any
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Known:
    """A column of one file that was read when it was opened.

    Parameters
    ----------
    column : Column
        All its rows.
    groups : Groups or None
        Where they come from, if they come from groups.
    dtype : str or None
        Convert to this type.
    casting : {"exact", "unsafe"}
        What the conversion may do.
    """

    column: Any
    groups: Groups | None = None
    dtype: str | None = None
    casting: Casting = "exact"


@dataclass(frozen=True)
class PerFile:
    """What all rows of a file share.

    Parameters
    ----------
    column : Column
        One row.
    dtype : str or None
        Convert to this type.
    casting : {"exact", "unsafe"}
        What the conversion may do.
    """

    column: Any
    dtype: str | None = None
    casting: Casting = "exact"


@dataclass(frozen=True)
class MaskSlices(Slices):
    """Slices of which only is told which elements lie in their sequence."""


@dataclass(frozen=True)
class SingleSlices(Slices):
    """Slices of one element, which is the row itself."""


@dataclass(frozen=True)
class FileSlices(Slices):
    """Slices whose explicit bounds count the elements of one file."""


@dataclass(frozen=True)
class Meaning:
    """What the numbers of a field mean in one file, which others may mean otherwise.

    Parameters
    ----------
    categories : tuple or None
        What its codes stand for, by number; -1 is for a missing one.
    columns : str or None
        A digest of the names of its columns.
    """

    categories: tuple[Any, ...] | None = None
    columns: str | None = None


FileSpec = FieldSpec | Known | Chosen
"""What a convention may say of one file."""


def resolve(file: Any, asked: Mapping[str, str | FileSpec]) -> dict[str, Any]:
    """Make fields concrete.

    Parameters
    ----------
    file : h5py.File
        Open.
    asked : mapping
        Key of the column -> path or spec.

    Raises
    ------
    ConfigError
        If something is not there.
    """
    return {name: _resolve(file, spec) for name, spec in asked.items()}


def _resolve(file: Any, spec: Any) -> Any:
    if isinstance(spec, str):
        return _by_kind(file, spec)
    if isinstance(spec, Sparse) and spec.n_columns is None:
        return replace(spec, n_columns=matrix_width(file, spec.path))
    if isinstance(spec, Grouped):
        return _resolve_grouped(file, spec)
    if isinstance(spec, Slices) and spec.axis:
        return replace(spec, base=_sequences_of(spec, _resolve(file, spec.base)))
    if isinstance(spec, Slices) and isinstance(spec.starts, str):
        spec = _bounds_of(file, spec)
    if isinstance(spec, TimeSlices):
        return _times_of(file, spec)
    if isinstance(spec, Patches):
        return _patches_of(spec, _resolve(file, spec.base))
    if isinstance(spec, Concat):
        return _concat_of(spec, _resolve(file, _grouped(spec)))
    if isinstance(spec, Slices | Picked):
        return replace(spec, base=_resolve(file, spec.base))
    if isinstance(spec, Mask):
        return _mask_of(spec, _resolve(file, spec.slices))
    if isinstance(spec, Whole):
        if not len(shape_of(file, spec.path)):
            return Known(stack([read_value(file, spec.path)]), None, spec.dtype, spec.casting)
        return _members_of(spec, (spec.path,))
    if isinstance(spec, Constant):
        return _resolve_constant(file, spec)
    if isinstance(spec, Shape):
        return _resolve_shape(file, spec)
    if isinstance(spec, Table):
        return replace(spec, by=tuple(_resolve_key(file, by) for by in keys_of(spec)))
    return spec


def keys_of(spec: Table | Listed) -> tuple[Any, ...]:
    """List what the parts of a row's key are."""
    return spec.by if isinstance(spec.by, tuple) else (spec.by,)


def _resolve_key(file: Any, by: Any) -> Any:
    if not isinstance(by, str):
        return _resolve(file, by)
    ids = read_ids(file, by)
    return Known(stack(ids) if isinstance(ids, list) and ids else np.asarray(ids))


def _members_of(
    spec: Whole | Grouped, paths: tuple[str, ...], groups: Groups | None = None
) -> Members:
    if spec.flat and (spec.axis or spec.inner is not None):
        raise ConfigError(f"{spec}: what is flattened has no other axis, and no part of one")
    return Members(
        paths,
        groups,
        spec.dtype,
        spec.flat,
        spec.casting,
        spec.decode_cf,
        spec.axis,
        spec.inner,
        spec.elements if isinstance(spec, Grouped) else None,
    )


def _bounds_of(file: Any, spec: Slices) -> FileSlices:
    """Read where slices start and stop."""
    starts, stops = read_value(file, spec.starts), None
    if getattr(starts, "ndim", 0) == 2 and starts.shape[1] == 2 and spec.stops is None:
        starts, stops = starts.T if spec.length is None else (starts[:, 0], None)
    elif isinstance(spec.stops, str):
        stops = read_value(file, spec.stops)
    elif spec.stops is not None or spec.length is None:
        raise ConfigError(
            f"{file.filename}: starts of slices are read from {spec.starts!r}, so stops are the "
            "path of a dataset as well; or give a length"
        )
    for name, numbers in {spec.starts: starts, spec.stops: stops}.items():
        if numbers is not None and not _are_integers(numbers):
            raise ConfigError(
                f"{file.filename}: {name!r} should be a list of integers, one a slice, or of shape "
                "(slices, 2)"
            )
    return FileSlices(**{**vars(spec), "starts": starts, "stops": stops})


def _times_of(file: Any, spec: TimeSlices) -> TimeSlices:
    """Read when windows start and stop, where the file says it."""
    bounds = {
        name: read_value(file, value)
        for name, value in (("starts", spec.starts), ("stops", spec.stops))
        if isinstance(value, str)
    }
    return replace(spec, base=_timed_base(spec, _resolve(file, spec.base)), **bounds)


def _timed_base(spec: TimeSlices, base: Any) -> Dense:
    if not isinstance(base, Dense):
        raise ConfigError(
            f"windows in time are cut from one dataset with its timestamps: its path, or "
            f"Dense(path), not {spec.base!r:.80}"
        )
    return base


def _are_integers(values: Any) -> bool:
    return getattr(values, "ndim", 0) == 1 and values.dtype.kind in "iu"


def _patches_of(spec: Patches, base: Any) -> Patches:
    plain = isinstance(base, Dense) and not base.axis and base.inner is None and base.n_rows is None
    if not plain or base.flat or base.ragged:
        raise ConfigError(
            "patches are cut from one dataset, whole: its path, or Dense(path, dtype=...)"
        )
    return replace(spec, base=base)


def _grouped(spec: Concat) -> Grouped:
    base = Grouped(spec.base) if isinstance(spec.base, str) else spec.base
    if not isinstance(base, Grouped) or base.attribute is not None:
        raise ConfigError(
            f"Concat() takes a pattern, or Grouped(pattern, ...) of datasets, not {spec.base!r:.80}"
        )
    return base


def _concat_of(spec: Concat, base: Any) -> SingleSlices:
    return SingleSlices(replace(base, rows="ragged" if spec.ragged else "alike"), 1)


def _mask_of(spec: Mask, slices: Any) -> MaskSlices:
    if not isinstance(slices, Slices) or slices.starts is not None:
        raise ConfigError(
            "Mask() takes slices at regular steps: Mask(Slices(base, length, after=...)); of "
            "those around events, their starts tell what is padded"
        )
    return MaskSlices(**vars(slices))


def _sequences_of(spec: Slices, base: Any) -> Sequences:
    plain = isinstance(base, Dense) and not base.axis and base.n_rows is None
    if not plain or base.flat or base.ragged:
        raise ConfigError(
            f"slices along axis {spec.axis} are cut from one dataset whose rows are sequences: its "
            "path, or Dense(path); one dataset in each group is cut along an axis with "
            f"Slices(Grouped(pattern, axis={spec.axis}), ...)"
        )
    if spec.starts is not None:
        raise ConfigError(
            f"slices along axis {spec.axis} are at regular steps; leave starts out, or pick rows "
            "with subset="
        )
    return Sequences(base, spec.axis)


def _resolve_constant(file: Any, spec: Constant) -> PerFile:
    if "*" in spec.path:
        told = f"{spec.path!r}, attribute={spec.attribute!r}" if spec.attribute else repr(spec.path)
        raise ConfigError(
            f"{file.filename}: {spec.path!r} names many objects, and a constant is one value of "
            f"the file; ask for Grouped({told})"
        )
    if spec.decode_cf and spec.attribute is not None:
        raise ConfigError(
            f"{file.filename}: attribute {spec.attribute!r} of {spec.path!r} is not packed; "
            "decode_cf=True is for datasets"
        )
    value = read_value(file, spec.path, spec.attribute)
    column = stack([read_decoded(file, spec.path, value) if spec.decode_cf else value])
    return PerFile(column, spec.dtype, spec.casting)


def _resolve_shape(file: Any, spec: Shape) -> PerFile | Known:
    if "*" not in spec.path:
        return PerFile(shape_of(file, spec.path)[None])
    paths, groups = _matches_of(file, spec.path, None)
    return Known(stack([shape_of(file, path) for path in paths]), groups)


def _by_kind(file: Any, path: str) -> Any:
    kind = kind_of(file, path)
    group, members = split_members(path)
    if kind in (Kind.GROUP, Kind.SPARSE) and members and path not in file:
        raise ConfigError(
            f"{file.filename}: {group!r} is a group, not a compound; ask for "
            f"{'/'.join([group, *members])!r}"
        )
    if kind is Kind.GROUP and _holds_datasets_only(file, path):
        return _resolve(file, Grouped(path))
    if kind is Kind.SPARSE:
        return _resolve(file, Sparse(path))
    return Vlen(path) if kind is Kind.VLEN else Dense(path)


def _holds_datasets_only(file: Any, path: str) -> bool:
    names = list(file[path])
    return bool(names) and all(kind_of(file, f"{path}/{name}") is Kind.DENSE for name in names)


def _resolve_grouped(file: Any, spec: Grouped) -> Members | Known:
    if spec.n_rows is not None and spec.n_rows < 0:
        raise ConfigError(f"{spec} should have {spec.n_rows} rows")
    if spec.order not in (None, "natural", "listed"):
        raise ConfigError(f'order must be "natural", "listed" or None, not {spec.order!r}')
    paths, groups = _matches_of(file, _pattern_of(file, spec), spec.order, spec.n_rows)
    groups = replace(groups, pattern=spec.pattern)
    if spec.attribute is None:
        return _members_of(spec, paths, groups)
    values = [read_attribute(file, path, spec.attribute) for path in paths]
    return Known(stack(values), groups, spec.dtype, spec.casting)


def _matches_of(
    file: Any, pattern: str, order: str | None, most: int | None = None
) -> tuple[tuple[str, ...], Groups]:
    """List the objects that a pattern names, and where they come from."""
    matches = expand_pattern(file, pattern)
    if order != "listed":
        matches.sort(key=lambda match: [natural_key(name) for name in match.names])
    ordered = matches[:most]
    groups = Groups(
        tuple("/".join(match.names) for match in ordered),
        tuple("/".join(match.texts) for match in ordered),
        tuple(match.places for match in ordered),
        order,
        pattern,
    )
    return tuple(match.path for match in ordered), groups


def _pattern_of(file: Any, spec: Grouped) -> str:
    """Return a pattern with a ``*``: a group without means all that it holds."""
    if "*" in spec.pattern:
        return spec.pattern
    path = spec.pattern.strip("/")
    if path and kind_of(file, path) is not Kind.GROUP:
        example = f"{path.rpartition('/')[0]}/*".lstrip("/")
        raise ConfigError(
            f"{file.filename}: {path!r} is not a group of datasets that are rows; for its own rows "
            f"ask for {path!r}, for one row a dataset for Grouped({example!r})"
        )
    return f"{path}/*"


def index_of(spec: Ragged) -> tuple[str, ...]:
    """Name the datasets that say where rows lie."""
    if isinstance(spec.ends, tuple):
        return spec.ends
    index = spec.offsets or spec.lengths or spec.ends or ""
    return (index.path if isinstance(index, Dense) else index,)


def names_of(spec: Any) -> list[str]:
    """List the datasets that a concrete spec needs."""
    if isinstance(spec, Dense | Vlen):
        return [spec.path]
    if isinstance(spec, Ragged):
        if sum(each is not None for each in (spec.offsets, spec.lengths, spec.ends)) != 1:
            raise ConfigError(f"{spec} needs one of offsets, lengths and ends")
        return [spec.values, *index_of(spec)]
    if isinstance(spec, Sparse):
        return [f"{spec.path}/{name}" for name in ("data", "indices", "indptr")]
    if isinstance(spec, Members):
        return list(spec.paths)
    if isinstance(spec, Slices | Picked | Chosen | Sequences | Patches):
        return names_of(spec.base)
    if isinstance(spec, TimeSlices):
        return [*names_of(spec.base), spec.time]
    if isinstance(spec, Given | Known | PerFile | Origin):
        return []
    if isinstance(spec, Table):
        return [name for by in spec.by for name in names_of(by)]
    raise ConfigError(f"a field must be a path or a field of h5stream, not {spec!r:.80}")


def resolve_known(
    asked: Mapping[str, Asked], datasets: Mapping[str, DatasetLayout]
) -> dict[str, Any] | None:
    """Make fields concrete by what is known of a file's datasets.

    Parameters
    ----------
    asked : mapping
        Key of the column -> path or spec.
    datasets : mapping
        By their paths.

    Returns
    -------
    dict or None
        None if only the file itself can tell.
    """
    specs = {key: _resolve_known(spec, datasets) for key, spec in asked.items()}
    for spec in specs.values():
        if spec is None or any(find_named(datasets, name) is None for name in names_of(spec)):
            return None
    return specs


def _resolve_known(spec: Any, datasets: Mapping[str, DatasetLayout]) -> Any:
    if isinstance(spec, str):
        known = find_named(datasets, spec)
        return known and (Vlen(spec) if known.vlen is not None else Dense(spec))
    if isinstance(spec, Slices) and spec.axis:
        base = _resolve_known(spec.base, datasets)
        return base and replace(spec, base=_sequences_of(spec, base))
    if isinstance(spec, Slices) and isinstance(spec.starts, str):
        return None
    if isinstance(spec, TimeSlices):
        base = _resolve_known(spec.base, datasets)
        if base is None or isinstance(spec.starts, str) or isinstance(spec.stops, str):
            return None
        return replace(spec, base=_timed_base(spec, base))
    if isinstance(spec, Patches):
        base = _resolve_known(spec.base, datasets)
        return base and _patches_of(spec, base)
    if isinstance(spec, Slices | Picked):
        base = _resolve_known(spec.base, datasets)
        return base and replace(spec, base=base)
    if isinstance(spec, Mask):
        slices = _resolve_known(spec.slices, datasets)
        return slices and _mask_of(spec, slices)
    if isinstance(spec, Whole):
        known = find_named(datasets, spec.path)
        return _members_of(spec, (spec.path,)) if known is not None and known.shape else None
    of_file = isinstance(spec, Grouped | Constant | Shape | Table | Concat)
    if of_file or (isinstance(spec, Sparse) and spec.n_columns is None):
        return None
    return spec
