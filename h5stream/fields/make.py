"""Makes fields of concrete specs: one function for each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import numpy as np

from h5stream.columns import Ragged as RaggedColumn
from h5stream.columns import Sparse as SparseColumn
from h5stream.columns import Text, stack
from h5stream.errors import ConfigError, DecodeError, LayoutError, UnsupportedError
from h5stream.fields.casting import fit_for
from h5stream.fields.dense import DenseField
from h5stream.fields.field import Field
from h5stream.fields.given import GivenField, MemoryField
from h5stream.fields.inner import Inner, crop, parse_inner
from h5stream.fields.region import (
    ElementForm,
    Elements,
    Form,
    LaneForm,
    PatchForm,
    RaggedForm,
    RegionField,
    RowForm,
    SliceForm,
    SparseForm,
)
from h5stream.fields.regions import Bounds, Grid, Offsets, Regions, Spans
from h5stream.fields.resolve import Chosen, Known, Members, Sequences, index_of
from h5stream.fields.specs import Casting, Dense, Patches, Picked, Ragged, Sparse, Vlen
from h5stream.fields.vlen import VlenField, checked_descriptors, expected_places
from h5stream.layout import DatasetLayout, FileLayout, Packing
from h5stream.layout.names import split_members
from h5stream.layout.stacked import stacked

__all__ = ["Read", "converted", "decode_scalar", "make_field", "members_of", "pick_rows"]

Read = Callable[[DatasetLayout], Any]
"""Reads a whole dataset: an array, or a list of arrays or of bytes if elements vary in length."""


def make_field(name: str, spec: Any, file: FileLayout, read: Read | None) -> Field:
    """Make one field.

    Parameters
    ----------
    name : str
        Key of the column.
    spec : FieldSpec or str
        Concrete; a string is the path of a dataset of plain elements.
    file : FileLayout
        Scanned for the datasets that the spec names.
    read : callable or None
        Reads a whole dataset.

    Raises
    ------
    ConfigError, LayoutError, UnsupportedError
        If the datasets do not fit each other, or cannot be read.
    """
    if isinstance(spec, str):
        spec = Dense(spec)
    maker = _MAKERS.get(type(spec))
    if maker is None:
        raise ConfigError(
            f"field {name!r}: {type(spec).__name__} cannot be cut or picked from; say which slices "
            "in one step"
        )
    return maker(name, spec, file, read)


def _dtype(spec: Any) -> np.dtype[Any] | None:
    if spec.dtype is None:
        return None
    try:
        return np.dtype(spec.dtype)
    except TypeError as error:
        raise ConfigError(f"{spec.dtype!r} is not a NumPy type") from error


def _casting(spec: Any) -> Casting:
    if spec.casting not in get_args(Casting):
        raise ConfigError(f"casting must be one of {get_args(Casting)}, not {spec.casting!r}")
    return spec.casting


def _packing(spec: Any, layout: DatasetLayout) -> Packing | None:
    """Return how elements are decoded, None if that is not wanted or not needed."""
    packing = layout.packing if spec.decode_cf else None
    if packing is not None and packing.trouble:
        raise UnsupportedError(
            f"{layout.file}: {layout.path!r} cannot be decoded: {packing.trouble}; leave decode_cf "
            "out, and decode what is stored with map()"
        )
    return packing


def converted(name: str, values: np.ndarray, spec: Any, file: str) -> np.ndarray:
    """Convert values that were read at opening as a spec says.

    Raises
    ------
    ConfigError
        If there is no such type, or it cannot hold one of them.
    """
    return _converted(name, values, _dtype(spec), spec, file)


def _converted(
    name: str, values: np.ndarray, to: np.dtype[Any] | None, spec: Any, file: str
) -> np.ndarray:
    values = fit_for(values, to, _casting(spec), file=file, name=name)
    with np.errstate(all="ignore"):
        return values if to is None else values.astype(to)


def _make_rows(name: str, spec: Dense, file: FileLayout, read: Read | None) -> Field:
    """Make the rows of a dataset, which may differ in shape from those of other files."""
    if spec.flat and (spec.axis or spec.inner is not None):
        raise ConfigError(f"{spec}: what is flattened has no other axis, and no part of one")
    rows = _make_dense(name, spec, file, read)
    if not spec.flat and not spec.ragged:
        return rows
    every = Offsets(np.arange(rows.n_rows + 1, dtype=np.int64))
    return replace(_as_lists(name, (rows,), flat=spec.flat), regions=every)


def _as_lists(name: str, datasets: tuple[DenseField, ...], *, flat: bool) -> RegionField:
    """See each row of datasets as a list of elements; the rows of a dataset are a sequence."""
    kinds = {(field.dtype, () if flat else field.row_shape[1:]) for field in datasets}
    if len(kinds) > 1 or not all(field.row_shape for field in datasets):
        different = {field.row_shape: field for field in datasets}.values()
        shown = ", ".join(f"{each.dtype} {each.row_shape}" for each in different)
        raise ConfigError(
            f"{datasets[0].layout.file}: {datasets[0].layout.path!r} and other datasets of field "
            f"{name!r} have rows of {shown}; rows of unequal length are of one type, and differ in "
            "their first axis: flatten those that differ in more with flat=True, and ask for their "
            "Shape beside"
        )
    part = Elements(datasets)
    return RegionField(name, (part,), Offsets(part.bounds), RowForm(flat))


def _make_dense(name: str, spec: Dense, file: FileLayout, read: Read | None) -> DenseField:
    layout = file.datasets[spec.path]
    members = members_of(spec.path, layout)
    layout = _along(layout, spec.axis)
    if spec.n_rows is not None:
        layout = layout.limited(_checked_rows(spec.n_rows, layout))
    layout, inner = (layout, None) if spec.inner is None else crop(layout, spec.inner)
    convert = _dtype(spec)
    if convert is not None and convert.kind in "SU" and not convert.itemsize:
        field = DenseField(name, layout, members)
        length = field.dtype.itemsize // (4 if field.dtype.kind == "U" else 1)
        convert = np.dtype(f"{convert.kind}{max(1, length)}")
    packing = _packing(spec, layout)
    return DenseField(name, layout, members, convert, _casting(spec), packing, inner)


def _along(layout: DatasetLayout, axis: int) -> DatasetLayout:
    """Put another axis in front."""
    if axis and not -len(layout.shape) <= axis < len(layout.shape):
        raise ConfigError(
            f"{layout.file}: {layout.path!r} of shape {layout.shape} has no axis {axis}"
        )
    return layout.along(axis % len(layout.shape)) if axis else layout


def members_of(path: str, layout: DatasetLayout) -> tuple[str, ...]:
    """Return the members in brackets, unless the dataset itself has them in its name."""
    whole = layout.path.strip("/") == path.strip("/")
    return () if whole else split_members(path)[1]


def _checked_rows(n_rows: int, layout: DatasetLayout) -> int:
    if not 0 <= n_rows <= (layout.n_rows if layout.shape else 0):
        raise LayoutError(
            f"{layout.file}: {n_rows} rows of {layout.path!r} should be filled, but its shape is "
            f"{layout.shape}"
        )
    return n_rows


def _read(read: Read | None, layout: DatasetLayout) -> Any:
    assert read is not None, "fields of several datasets are bound with a way to read"
    return read(layout)


def _make_vlen(name: str, spec: Vlen, file: FileLayout, read: Read | None) -> Field:
    layout = file.datasets[spec.path]
    vlen = layout.vlen
    if vlen is None:
        raise ConfigError(
            f"{layout.file}: the elements of {layout.path!r} do not vary in length; ask for it by "
            "its path alone"
        )
    if not layout.shape:
        raise ConfigError(
            f"{layout.file}: {layout.path!r} is one string or list, which has no sample axis; "
            "choose datasets with one row a sample"
        )
    if len(layout.shape) != 1:
        raise UnsupportedError(
            f"{layout.file}: {layout.path!r} of shape {layout.shape} has several elements of "
            "variable length a row; only datasets with one axis of them can be streamed"
        )
    if spec.n_rows is not None:
        layout = layout.limited(_checked_rows(spec.n_rows, layout))
    text: Text = vlen.text and spec.text is not False
    if text and spec.errors == "replace":
        text = "replace"
    dtype = _dtype(spec) or vlen.dtype.newbyteorder("=")
    stored = _read(read, layout)
    if isinstance(stored, list):
        rows = [_converted(name, np.asarray(row), dtype, spec, layout.file) for row in stored]
        column = RaggedColumn.from_rows(rows or [np.empty(0, dtype)])[: len(rows)]
        return GivenField(name, RaggedColumn(column.values, column.offsets, text=text))
    size_bytes = file.fingerprints[layout.file].size_bytes
    descriptors = checked_descriptors(layout, stored, size_bytes)
    expected = expected_places(descriptors, vlen.dtype.itemsize)
    return VlenField(name, layout, descriptors, expected, dtype, text, _casting(spec))


def _make_ragged(name: str, spec: Ragged, file: FileLayout, read: Read | None) -> RegionField:
    layout = file.datasets[spec.values]
    values = DenseField(
        name,
        layout,
        members_of(spec.values, layout),
        _dtype(spec),
        _casting(spec),
        _packing(spec, layout),
    )
    form = RaggedForm(text=_text_of(spec, values))
    index = file.datasets[index_of(spec)[0]]
    if spec.ends is not None:
        flags = [_flags(file.datasets[each], values.n_rows, read) for each in index_of(spec)]
        offsets = _offsets_of(np.logical_or.reduce(flags))
        return RegionField(name, (Elements((values,)),), Offsets(offsets), form)
    offsets = _whole_numbers(index, read, spec.lengths or spec.offsets)
    if spec.lengths is not None:
        if (offsets < 0).any() or offsets.sum(dtype=np.float64) > 2**62:
            raise LayoutError(f"{index.file}: {index.path!r} has lengths below zero or too large")
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(offsets)])
    offsets = _checked_offsets(offsets, index, values.n_rows)
    if not spec.partial:
        _refuse_rest(spec, index, offsets, values.n_rows)
    return RegionField(name, (Elements((values,)),), Offsets(offsets), form)


def _text_of(spec: Ragged, values: DenseField) -> Text:
    """Say whether rows are text.

    Raises
    ------
    ConfigError
        If their elements are no bytes.
    """
    if not spec.text:
        return False
    if values.dtype != np.uint8 or values.row_shape:
        raise ConfigError(
            f"{values.layout.file}: text=True takes bytes (uint8), but {spec.values!r} has "
            f"elements of {values.dtype} and shape {values.row_shape}"
        )
    return "replace" if spec.errors == "replace" else True


def _flags(layout: DatasetLayout, total: int, read: Read | None) -> np.ndarray:
    """Read one flag for each value."""
    if layout.dtype.kind not in "biu" or layout.shape not in ((total,), (total, 1)):
        raise ConfigError(
            f"{layout.file}: {layout.path!r} should have one flag for each of {total} values, but "
            f"has shape {layout.shape} and type {layout.dtype}"
        )
    return np.asarray(_read(read, layout)).reshape(-1) != 0


def _offsets_of(last: np.ndarray) -> np.ndarray:
    """Turn flags at the last element of each row into offsets; the rest is a row as well."""
    ends = np.flatnonzero(last) + 1
    rest = [len(last)] if len(last) > (ends[-1] if len(ends) else 0) else []
    return np.concatenate([np.zeros(1, np.int64), ends, np.array(rest, np.int64)])


def _refuse_rest(spec: Ragged, index: DatasetLayout, offsets: np.ndarray, total: int) -> None:
    """Refuse values that belong to no row: then the numbers are likely to mean something else."""
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin == 0 and end == total:
        return
    if spec.lengths is not None:
        found = f"sum to {end}"
        advice = (
            f"check them, or pass Ragged({spec.values!r}, lengths={spec.lengths!r}, partial=True)"
        )
    else:
        found = f"go from {begin} to {end}"
        advice = (
            f"offsets are {index.n_rows} numbers, one more than rows, and begin at 0: to starts "
            "without an end append the number of values, from numbers that count from 1 take one "
            "each; or leave values out: "
            f"Ragged({spec.values!r}, {spec.offsets!r}, partial=True)"
        )
    raise LayoutError(
        f"{index.file}: the numbers of {index.path!r} {found}, but there are {total} values in "
        f"{spec.values!r}; {advice}"
    )


def _whole_numbers(layout: DatasetLayout, read: Read | None, asked: Any = None) -> np.ndarray:
    """Read a list of integers: a dataset, or a column of one."""
    wanted = asked.inner if isinstance(asked, Dense) and asked.inner is not None else ...
    inner = Inner(parse_inner(wanted, layout.row_shape, f"{layout.file}: {layout.path!r}"))
    if layout.dtype.kind not in "iu" or not layout.shape or inner.shape:
        raise ConfigError(
            f"{layout.file}: {layout.path!r} should be a list of integers, but has shape "
            f"{layout.shape} and type {layout.dtype}; of a list of lists take a column: "
            f"Dense({layout.path.strip('/')!r}, inner=0)"
        )
    numbers, _ = inner.choose(np.asarray(_read(read, layout)))
    return numbers.astype(np.int64)


def _checked_offsets(offsets: np.ndarray, layout: DatasetLayout, total: int) -> np.ndarray:
    """Check offsets against what they point into; rows offsets without an end get one."""
    if not len(offsets):
        return np.zeros(1, np.int64)
    wrong = np.flatnonzero(np.diff(offsets) < 0)
    if len(wrong):
        row = int(wrong[0])
        raise LayoutError(
            f"{layout.file}: {layout.path!r} decreases at row {row}, from {offsets[row]} to "
            f"{offsets[row + 1]}; offsets must not decrease"
        )
    if offsets[0] < 0 or offsets[-1] > total:
        raise LayoutError(
            f"{layout.file}: {layout.path!r} goes from {offsets[0]} to {offsets[-1]}, but there "
            f"are {total} values"
        )
    return offsets


def _make_sparse(name: str, spec: Sparse, file: FileLayout, read: Read | None) -> RegionField:
    data, indices, indptr = (
        file.datasets[f"{spec.path}/{part}"] for part in ("data", "indices", "indptr")
    )
    if indices.dtype.kind not in "iu" or data.shape != indices.shape or len(data.shape) != 1:
        raise LayoutError(
            f"{data.file}: data {data.shape} and indices {indices.shape} ({indices.dtype}) of "
            f"{spec.path!r} do not fit each other"
        )
    offsets = _whole_numbers(indptr, read)
    if spec.n_rows is not None:
        offsets = offsets[: _checked_rows(spec.n_rows, indptr) + 1]
    offsets = _checked_offsets(offsets, indptr, data.n_rows)
    assert spec.n_columns is not None, "a concrete spec says how wide the matrix is"
    if spec.n_columns < 0:
        raise ConfigError(f"field {name!r}: a matrix cannot have {spec.n_columns} columns")
    parts = (
        Elements((DenseField(name, data, (), _dtype(spec), _casting(spec)),)),
        Elements((DenseField(name, indices),)),
    )
    form = SparseForm(spec.n_columns, plain=spec.dense)
    return RegionField(name, parts, Offsets(offsets), form)


def _make_members(name: str, spec: Members, file: FileLayout, read: Read | None) -> Field:
    layouts = [file.datasets[path] for path in spec.paths]
    if spec.flat and spec.rows is None:
        layouts = [layout.flattened() for layout in layouts]
    elif spec.axis:
        layouts = [_along(layout, spec.axis) for layout in layouts]
    if all(layout.shape == () for layout in layouts):
        values = [decode_scalar(layout, _read(read, layout)) for layout in layouts]
        if isinstance(values[0], str):
            return GivenField(name, stack(values))
        stored = np.array(
            [
                value if (packing := _packing(spec, layout)) is None else packing.decode(value)
                for layout, value in zip(layouts, values, strict=True)
            ]
        )
        return GivenField(name, _converted(name, stored, _dtype(spec), spec, layouts[0].file))
    lengthy = next((layout for layout in layouts if layout.vlen is not None), None)
    if lengthy is not None:
        raise UnsupportedError(
            f"{lengthy.file}: {lengthy.path!r} has elements of variable length, and one dataset a "
            "row can only hold elements of fixed length; store them as one dataset of all rows"
        )
    datasets = tuple(
        _make_member(name, spec, layout, members_of(path, file.datasets[path]))
        for path, layout in zip(spec.paths, layouts, strict=True)
    )
    if spec.rows == "ragged" or (spec.rows and spec.flat):
        return _as_lists(name, datasets, flat=spec.flat)
    first = datasets[0]
    for field in datasets:
        if (field.dtype, field.row_shape) != (first.dtype, first.row_shape):
            raise ConfigError(
                f"{field.layout.file}: {field.layout.path!r} has rows of {field.dtype} "
                f"{field.row_shape}, but {first.layout.path!r} has {first.dtype} "
                f"{first.row_shape}; {_advice_of_members(spec)}"
            )
    part = Elements(datasets)
    regions: Regions = Offsets(part.bounds)
    if spec.elements is not None:
        regions = _some_elements(name, part.bounds, spec.elements)
    start, stop = regions.of(np.arange(len(datasets)))
    alike = len(np.unique(stop - start)) == 1
    form: Form = SliceForm(int((stop - start)[0])) if alike else RaggedForm()
    return RegionField(name, (part,), regions, form)


def _advice_of_members(spec: Members) -> str:
    if spec.rows:
        return (
            "rows of one field must agree: convert them with Grouped(..., dtype=...); for rows of "
            "unequal length write Concat(..., ragged=True), or flatten them with "
            "Concat(Grouped(..., flat=True)) and ask for their Shape beside"
        )
    return (
        "datasets that are rows of one field must agree but in length: convert them with "
        "Grouped(..., dtype=...), flatten them with Grouped(..., flat=True), or pass "
        "convention=None for other fields"
    )


def _some_elements(name: str, bounds: np.ndarray, wanted: Any) -> Spans:
    """Take some elements of each dataset."""
    if not isinstance(wanted, slice) or wanted.step not in (None, 1):
        raise ConfigError(f"field {name!r}: elements is a slice without step, not {wanted!r}")
    sizes = np.diff(bounds)
    chosen = [range(size)[wanted] for size in sizes.tolist()]
    first = np.array([min(some.start, size) for some, size in zip(chosen, sizes, strict=True)])
    return Spans(bounds[:-1] + first, bounds[:-1] + first + [len(some) for some in chosen])


def _make_member(
    name: str, spec: Members, layout: DatasetLayout, members: tuple[str, ...]
) -> DenseField:
    packing = _packing(spec, layout)
    layout, inner = (layout, None) if spec.inner is None else crop(layout, spec.inner)
    return DenseField(name, layout, members, _dtype(spec), _casting(spec), packing, inner)


def decode_scalar(layout: DatasetLayout, value: Any) -> Any:
    """Make text of bytes.

    Raises
    ------
    DecodeError
        If they are not UTF-8.
    """
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"{layout.file}: {layout.path!r} is not UTF-8 ({value[:40]!r})",
            url=layout.file,
            dataset=layout.path,
        ) from error


def _make_picked(name: str, spec: Picked, file: FileLayout, read: Read | None) -> Field:
    base = make_field(name, spec.base, file, read)
    at = _whole_array(name, spec.at)
    if len(at) and not 0 <= int(at.min()) <= int(at.max()) < base.n_rows:
        raise LayoutError(
            f"{file.path}: field {name!r} picks rows {at.min()} to {at.max()}, but there are "
            f"{base.n_rows}"
        )
    if spec.within is not None:
        return _pick_elements(base, at, _whole_array(name, spec.within))
    return pick_rows(base, at)


def _whole_array(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (len(array) and array.dtype.kind not in "iu"):
        raise ConfigError(f"field {name!r}: what is picked must be a list of integers")
    return array.astype(np.int64)


def pick_rows(field: Field, at: np.ndarray) -> Field:
    """Make a field whose row i is row ``at[i]`` of another."""
    if isinstance(field, DenseField):
        return RegionField(field.name, (Elements((field,)),), Bounds(at, at + 1), SliceForm(None))
    if isinstance(field, RegionField):
        return RegionField(field.name, field.parts, Bounds(*field.regions.of(at)), field.form)
    if isinstance(field, VlenField):
        return field.picked(at)
    assert isinstance(field, MemoryField), "there are four kinds of field"
    return field.picked(at)


def _make_sequences(name: str, spec: Sequences, file: FileLayout, read: Read | None) -> RegionField:
    layout, axis = file.datasets[spec.base.path], spec.axis
    if layout.refused or layout.vlen is not None:
        DenseField(name, layout)  # says why not
    n_axes = len(layout.shape)
    if not 1 <= axis < n_axes:
        raise ConfigError(
            f"{layout.file}: {layout.path!r} of shape {layout.shape} has no axis {axis} inside its "
            f"rows; axis= is one of {', '.join(map(str, range(1, n_axes)))}"
        )
    if spec.alone is not None:
        layout = replace(layout, indirect=layout.indirect or spec.alone)
    n_rows, view = layout.n_rows, stacked(layout, axis)
    stacking = view.stacking
    assert stacking is not None, "a view of sequences says where they lie"
    packing, inner = _packing(spec.base, layout), None
    if spec.base.inner is not None:
        view, inner = crop(view, _beside(spec, layout, stacking.lanes))
    members = members_of(spec.base.path, layout)
    elements = DenseField(
        name, view, members, _dtype(spec.base), _casting(spec.base), packing, inner
    )
    begin = np.arange(n_rows) // stacking.lanes * stacking.padded
    form = SliceForm(None) if stacking.lanes == 1 else LaneForm(None, lanes=stacking.lanes)
    regions = Bounds(begin, begin + stacking.length)
    return RegionField(name, (Elements((elements,)),), regions, form)


def _make_patches(name: str, spec: Patches, file: FileLayout, read: Read | None) -> RegionField:
    whole = _make_dense(name, spec.base, file, read)
    layout, n_axes = whole.layout, len(whole.layout.shape)
    axes = _patch_axes(spec, layout)
    stride = spec.shape if spec.stride is None else spec.stride
    if len(stride) != len(axes) or not all(_is_count(size) for size in (*spec.shape, *stride)):
        raise ConfigError(
            f"field {name!r}: shape and stride of patches are positive whole numbers, one for each "
            f"of {len(axes)} axes, not {spec.shape!r} and {stride!r}"
        )
    first = axes[0]
    order = [first, *(axis for axis in range(n_axes) if axis != first)]
    extent = dict(zip(axes, spec.shape, strict=True))
    steps = dict(zip(axes, stride, strict=True))
    sizes = [extent.get(axis, layout.shape[axis]) for axis in order]
    places = [
        _places(layout.shape[axis], size, steps.get(axis, size), spec.cover)
        for axis, size in zip(order, sizes, strict=True)
    ]
    elements = replace(whole, layout=layout.along(first))
    form = PatchForm(sizes[0], extent=tuple(sizes), axis=first)
    return RegionField(name, (Elements((elements,)),), Grid(tuple(places), sizes[0]), form)


def _patch_axes(spec: Patches, layout: DatasetLayout) -> tuple[int, ...]:
    n_axes = len(layout.shape)
    axes = range(n_axes)[-len(spec.shape) :] if spec.axes is None else spec.axes
    known = [axis % n_axes for axis in axes if -n_axes <= axis < n_axes]
    if len(known) != len(spec.shape) or sorted(set(known)) != known or n_axes < 2:
        raise ConfigError(
            f"{layout.file}: {layout.path!r} of shape {layout.shape} has no patches of shape "
            f"{spec.shape!r} along axes {tuple(axes)}; axes are different ones, in order, one for "
            "each number of the shape"
        )
    return tuple(known)


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and bool(value > 0)


def _places(size: int, length: int, step: int, cover: bool) -> np.ndarray:
    """List where patches begin along an axis."""
    places = np.arange(0, size - length + 1, step, dtype=np.int64)
    if cover and len(places) and places[-1] + length < size:
        places = np.append(places, size - length)
    return places


def _beside(spec: Sequences, layout: DatasetLayout, lanes: int) -> tuple[Any, ...]:
    """Say which part of the elements of sequences is wanted."""
    what = f"{layout.file}: {layout.path!r}"
    axes = list(parse_inner(spec.base.inner, layout.row_shape, what))
    along = axes.pop(spec.axis - 1)
    if along != range(layout.shape[spec.axis]):
        raise ConfigError(
            f"{what}: inner= takes a part of axis {spec.axis}, along which slices are cut; leave "
            "that axis whole: np.s_[:]"
        )
    parts = (list(part) if isinstance(part, tuple | range) else part for part in axes)
    return (slice(None), *parts) if lanes > 1 else tuple(parts)


def _pick_elements(base: Field, at: np.ndarray, within: np.ndarray) -> RegionField:
    if not isinstance(base, DenseField):
        raise ConfigError(f"field {base.name!r}: elements can be picked out of dense fields only")
    row_size = int(np.prod(base.row_shape))
    if within.shape != at.shape or (
        len(within) and not 0 <= int(within.min()) <= int(within.max()) < row_size
    ):
        raise ConfigError(f"field {base.name!r}: elements lie outside rows of {row_size}")
    form = ElementForm(None, within=within, row_size=row_size)
    return RegionField(base.name, (Elements((base,)),), Bounds(at, at + 1), form)


def _make_known(name: str, spec: Known, file: FileLayout, read: Read | None) -> GivenField:
    column = spec.column
    if spec.dtype is not None and isinstance(column, np.ndarray):
        column = converted(name, column, spec, file.path)
    return GivenField(name, column)


def _make_chosen(name: str, spec: Chosen, file: FileLayout, read: Read | None) -> Field:
    base = make_field(name, spec.base, file, read)
    columns = np.array(spec.columns, np.int64)
    (width,) = base.column.row_shape if len(base.column.row_shape) == 1 else (-1,)
    if width < 0 or (len(columns) and not 0 <= int(columns.min()) <= int(columns.max()) < width):
        raise LayoutError(
            f"{file.path}: {name!r} has rows of shape {base.column.row_shape}, which lack some of "
            f"{len(columns)} columns that are chosen"
        )
    if isinstance(base, DenseField):
        layout, inner = crop(base.layout, columns)
        return replace(base, layout=layout, inner=inner)
    if isinstance(base, RegionField) and isinstance(base.form, SparseForm):
        data, indices = base.parts
        signed = replace(indices.first, convert=np.dtype(np.int64))
        form = replace(base.form, chosen=columns)
        return replace(base, parts=(data, Elements((signed,))), form=form)
    assert isinstance(base, GivenField), "matrices are dense, sparse, or in memory"
    assert isinstance(base.data, SparseColumn), "matrices in memory are sparse"
    return GivenField(name, _pick_columns(base.data, SparseForm(width, chosen=columns)))


def _pick_columns(matrix: SparseColumn, form: SparseForm) -> SparseColumn:
    """Choose columns of a matrix in memory, which stays as it is."""
    picked = SparseColumn.placed(
        matrix.data.copy(),
        form.places[matrix.indices],
        matrix.indptr[:-1],
        matrix.lengths,
        form.width,
    )
    picked.drop_negative()
    return picked


_MAKERS: dict[type, Callable[..., Field]] = {
    Dense: _make_rows,
    Vlen: _make_vlen,
    Ragged: _make_ragged,
    Sparse: _make_sparse,
    Members: _make_members,
    Picked: _make_picked,
    Known: _make_known,
    Chosen: _make_chosen,
    Sequences: _make_sequences,
    Patches: _make_patches,
}
