"""Files of h5torch: a central object, and objects that are aligned to its axes.

``central`` is one dataset or group, ``0/label`` an object whose rows follow axis 0 of it, and so
on. Each says by its attributes how it is stored (``mode``), as which type it is to be loaded
(``dtypes``) and how many rows are written (``filled_to``; old files have none).

1. ``sampling=0`` (or another axis): row i is row i of the central object along that axis, and of
   each object that is aligned to it. A file that is partly written ends where the first of them
   ends.
2. ``sampling="coo"``: a row is one element of the central object, stored (coo) or any (N-D, in C
   order), with the rows of all axes that it belongs to. Where it lies takes 8 bytes for each axis,
   in memory.
3. Objects that h5torch calls separate, and that differ in more than their length, come flattened
   beside a field of their shapes: ``0/images`` and ``0/images/shape``.
4. ``window_size`` and ``overlap``, or ``window_indices``, cut the rows of plain datasets into
   windows. Windows over rows of unequal length are batches:
   ``subset=h5stream.window_rows(...)`` with ``batch_size=window_size``.

Objects under ``unstructured`` belong to no axis; name their datasets one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np

from h5stream.conventions.nodes import (
    attribute,
    attribute_text,
    choose,
    find,
    find_dataset,
    is_text,
    read_bounded,
    refuse,
)
from h5stream.errors import ConfigError
from h5stream.fields import (
    Dense,
    FileSlices,
    FileSpec,
    Grouped,
    Known,
    Picked,
    Slices,
    Sparse,
    Vlen,
)
from h5stream.layout.contents import names_in

__all__ = [
    "Sampling",
    "default_fields",
    "field_names",
    "object_names",
    "omitted",
    "read_object",
    "recognise",
]

Sampling = int | Literal["coo"]
"""An axis of the central object, or each of its elements."""

_CENTRAL = "central"
_SHAPE = "/shape"


def recognise(file: h5py.File) -> bool:
    """Tell whether h5torch wrote the file."""
    central = find(file, _CENTRAL)
    return central is not None and attribute_text(central, "mode") in _READERS


@dataclass(frozen=True, eq=False)
class _Object:
    """An object of the file: how its rows are laid out, along its own first axis."""

    name: str
    mode: str
    node: Any
    shape: tuple[int, ...]
    n_rows: int
    load: str | None
    shapes: np.ndarray | None = None
    """Of separate datasets, if they differ in more than their length."""

    @property
    def axis(self) -> int | None:
        """Which axis of the central object it follows; None if it is that."""
        return None if self.name == _CENTRAL else int(self.name.partition("/")[0])

    def spec(self, n_rows: int, axis: int = 0) -> FileSpec:
        """Say how the first `n_rows` rows are laid out."""
        filled = n_rows if n_rows < self.shape[axis] else None
        if self.mode == "vlen" or (self.mode == "N-D" and is_text(self.node, of_any_length=True)):
            return Vlen(self.name, dtype=self.load, n_rows=filled)
        if self.mode == "N-D":
            return Dense(self.name, axis=axis, dtype=self.load, n_rows=filled)
        if self.mode == "separate":
            flat = self.shapes is not None
            return Grouped(self.name, dtype=self.load, n_rows=filled, flat=flat)
        dense = not bool(attribute(self.node, "load_sparse", False))
        return Sparse(
            self.name, n_columns=self.shape[1], dtype=self.load, n_rows=filled, dense=dense
        )


def read_object(file: h5py.File, name: str) -> _Object:
    """Read how an object is stored.

    Raises
    ------
    LayoutError
        If it is missing or damaged.
    """
    node = find(file, name)
    mode = None if node is None else attribute_text(node, "mode")
    if node is None or mode not in _READERS:
        raise refuse(file if node is None else node, f"has no mode of h5torch ({mode!r})")
    wanted = h5py.Dataset if mode in ("N-D", "vlen") else h5py.Group
    if not isinstance(node, wanted):
        raise refuse(node, f"is a {type(node).__name__}, but its mode is {mode!r}")
    return _READERS[mode](name, node)


def _read_plain(name: str, node: h5py.Dataset) -> _Object:
    if not node.shape:
        raise refuse(node, "is a scalar, but should have one row for each sample")
    return _Object(name, "N-D", node, node.shape, _filled(node, node.shape[0]), _load(node))


def _read_vlen(name: str, node: h5py.Dataset) -> _Object:
    if h5py.check_vlen_dtype(node.dtype) is None or len(node.shape or ()) != 1:
        raise refuse(node, f"has elements of {node.dtype} in shape {node.shape}, not lists")
    return _Object(name, "vlen", node, node.shape, _filled(node, node.shape[0]), _load(node))


def _read_sparse(name: str, node: h5py.Group) -> _Object:
    shape = _stated_shape(node, n_axes=2)
    indptr = find_dataset(node, "indptr", 1)
    if indptr.shape[0] != shape[0] + 1:
        raise refuse(node, f"has {indptr.shape[0]} offsets for {shape[0]} rows")
    if "filled_to" in node.attrs:
        n_rows = _filled(node, shape[0])
    else:
        n_rows = _count_offsets(node, read_bounded(indptr))
    return _Object(name, "csr", node, shape, n_rows, _load(find_dataset(node, "data", 1), node))


def _count_offsets(node: h5py.Group, indptr: np.ndarray) -> int:
    """Count the rows before the offsets that were never written, which are 0."""
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if not len(falls):
        return len(indptr) - 1
    n_rows = int(falls[0])
    if indptr[n_rows + 1 :].any():
        raise refuse(node, f"has offsets that decrease after row {n_rows - 1}")
    return n_rows


def _read_elements(name: str, node: h5py.Group) -> _Object:
    shape = _stated_shape(node)
    data, indices = find_dataset(node, "data", 1), find_dataset(node, "indices", 2)
    if indices.shape != (len(shape), data.shape[0]):
        raise refuse(
            node, f"has indices of shape {indices.shape} for {data.shape[0]} elements in {shape}"
        )
    return _Object(name, "coo", node, shape, shape[0], _load(data, node))


def _read_separate(name: str, node: h5py.Group) -> _Object:
    (length,) = _stated_shape(node, n_axes=1)
    if len(node) > length:
        raise refuse(node, f"has {len(node)} datasets for {length} rows")
    n_rows = _filled(node, length) if "filled_to" in node.attrs else len(node)
    shapes = []
    for row in range(n_rows):
        dataset = find(node, str(row))
        if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
            raise refuse(node, f"has {len(node)} datasets, but not that of row {row}")
        shapes.append(dataset.shape)
    if len({len(shape) for shape in shapes}) > 1:
        raise refuse(node, "has datasets with different numbers of axes")
    load = _load(node["0"], node) if n_rows else None
    unequal = np.array(shapes, np.int64) if len({shape[1:] for shape in shapes}) > 1 else None
    return _Object(name, "separate", node, (length,), n_rows, load, unequal)


_READERS = {
    "N-D": _read_plain,
    "vlen": _read_vlen,
    "csr": _read_sparse,
    "coo": _read_elements,
    "separate": _read_separate,
}


def _stated_shape(node: h5py.Group, n_axes: int | None = None) -> tuple[int, ...]:
    stated = np.asarray(attribute(node, "shape"))
    if stated.dtype.kind not in "iu" or stated.ndim != 1 or (n_axes or stated.size) != stated.size:
        raise refuse(node, f"has no attribute `shape` of {n_axes or 'some'} numbers")
    shape = tuple(int(n) for n in stated)
    if not shape or min(shape) < 0:
        raise refuse(node, f"has the impossible shape {shape}")
    return shape


def _filled(node: Any, length: int) -> int:
    stated = np.asarray(attribute(node, "filled_to", length))
    if stated.size != 1 or stated.dtype.kind not in "iu" or not 0 <= int(stated.item()) <= length:
        raise refuse(node, f"says that it is filled to row {stated.tolist()} of {length}")
    return int(stated.item())


def _load(dataset: h5py.Dataset, node: Any = None) -> str | None:
    """Return the type to convert to, None if elements are stored in it.

    ``|S0`` and ``<U0`` mean strings of any length.
    """
    holder = dataset if node is None else node
    stated = np.asarray(attribute(holder, "dtypes", ())).reshape(-1).tolist()
    if len(stated) != 2:
        return None
    name = stated[1].decode() if isinstance(stated[1], bytes) else str(stated[1])
    try:
        load = np.dtype(name)
    except TypeError as error:
        raise refuse(holder, f"is to be loaded as {name!r}, which is no type of NumPy") from error
    if load.kind not in "biufcSU" or load.names is not None:
        raise refuse(holder, f"is to be loaded as {name!r}: not numbers, nor strings")
    stored = h5py.check_vlen_dtype(dataset.dtype) or dataset.dtype
    if load == stored or stored.kind == "O" or (load.kind == "S" and stored.kind == "S"):
        return None
    return load.str if load.itemsize else load.kind


def _aligned(file: h5py.File) -> dict[int, list[str]]:
    """List the names of the objects of each axis."""
    found: dict[int, list[str]] = {}
    for axis in sorted((name for name in names_in(file) if name.isdecimal()), key=int):
        group = find(file, axis)
        if isinstance(group, h5py.Group):
            found[int(axis)] = [f"{axis}/{name}" for name in names_in(group)]
    return found


def _shapes_of(objects: Sequence[_Object], n_rows: int) -> dict[str, FileSpec]:
    return {
        item.name + _SHAPE: Known(item.shapes[:n_rows])
        for item in objects
        if item.shapes is not None
    }


def object_names(file: h5py.File) -> list[str]:
    """List the central object, and those that are aligned to its axes."""
    return [_CENTRAL, *(name for names in _aligned(file).values() for name in names)]


def field_names(file: h5py.File) -> list[str]:
    """List all objects that have rows, and the shapes of those that are flattened."""
    names = object_names(file)
    objects = [read_object(file, name) for name in names]
    flattened = [item.name + _SHAPE for item in objects if item.shapes is not None]
    return [*names, *flattened]


def omitted(file: h5py.File, fields: Sequence[str] | None) -> list[str]:
    """Say which objects are longer than they are filled, and so end before their last row."""
    objects = [read_object(file, name) for name in object_names(file)]
    axis = _guess_sampling(objects[0], fields)
    return [
        f"{file.filename}: {item.name!r} is filled to row {item.n_rows} of {item.shape[0]}; the "
        "rest is not streamed, nor the rows beside it"
        for item in objects
        if item.n_rows < item.shape[0]
        and (_is_wanted(item.name, fields) if fields else item.axis in (None, axis))
    ]


def default_fields(
    file: h5py.File,
    fields: Sequence[str] | None = None,
    *,
    sampling: Sampling | None = None,
    window_size: int | None = None,
    overlap: int = 0,
    window_indices: Sequence[tuple[int, int]] | None = None,
) -> dict[str, FileSpec]:
    """Say how the fields are laid out.

    Parameters
    ----------
    file : h5py.File
        Written by h5torch.
    fields : sequence of str or None
        Names of objects; None: the central one and those of the axis, or of all for ``"coo"``.
    sampling : int, "coo" or None
        Axis of samples, or one element a sample. None: what the names of the fields say, ``"coo"``
        if the central object is stored so, else 0.
    window_size, overlap : int
        Rows are windows of so many rows, the next of which shares `overlap` of them.
    window_indices : sequence of (int, int) or None
        Rows are windows from start to stop.
    """
    if fields is not None:
        choose(file, "h5torch", fields, field_names(file))
    central = read_object(file, _CENTRAL)
    aligned = _aligned(file)
    if sampling is None:
        sampling = _guess_sampling(central, fields)
    if sampling == "coo":
        wanted = [name for names in aligned.values() for name in names]
    elif sampling in range(len(central.shape)) or sampling in aligned:
        wanted = aligned.get(sampling, [])
    else:
        raise ConfigError(
            f'{file.filename}: sampling must be "coo" or an axis of the central object of shape '
            f"{central.shape}, not {sampling!r}"
        )
    objects = [read_object(file, name) for name in wanted if _is_wanted(name, fields)]
    for item in objects:
        _check_alignment(central, item)
    if sampling == "coo":
        made = _by_element(central, objects)
    else:
        made = _by_axis(central, objects, sampling, _is_wanted(_CENTRAL, fields))
    made = _in_order(file, made, fields, sampling)
    if window_size is None and window_indices is None:
        return made
    return {
        name: _windows(file, name, spec, window_size, overlap, window_indices)
        for name, spec in made.items()
    }


def _is_wanted(name: str, fields: Sequence[str] | None) -> bool:
    return fields is None or name in fields or name + _SHAPE in fields


def _guess_sampling(central: _Object, fields: Sequence[str] | None) -> Sampling:
    axes = {int(name.partition("/")[0]) for name in fields or () if name[0].isdecimal()}
    if central.mode == "coo" and (fields is None or _is_wanted(_CENTRAL, fields)):
        return "coo"
    if len(axes) > 1:
        return "coo"
    return min(axes, default=0)


def _check_alignment(central: _Object, item: _Object) -> None:
    axis = item.axis
    if axis is None or axis >= len(central.shape):
        raise refuse(item.node, f"belongs to no axis of the central object of {central.shape}")
    if item.mode == "coo":
        raise refuse(item.node, "is stored as coo, which has no rows to align")
    if item.shape[0] != central.shape[axis]:
        raise refuse(
            item.node,
            f"has {item.shape[0]} rows, but axis {axis} of the central object has "
            f"{central.shape[axis]}",
        )


def _by_axis(
    central: _Object, objects: Sequence[_Object], axis: int, with_central: bool
) -> dict[str, FileSpec]:
    rows = [item.n_rows for item in objects]
    made: dict[str, FileSpec] = {}
    if with_central:
        if central.mode == "coo" or (axis and central.mode != "N-D"):
            raise ConfigError(
                f"{central.node.file.filename}: the central object is stored as {central.mode} and "
                f"cannot be sampled along axis {axis}; "
                + ('use sampling="coo"' if central.mode == "coo" else "choose axis 0")
            )
        if axis and central.n_rows < central.shape[0]:
            raise ConfigError(
                f"{central.node.file.filename}: the central object is filled to row "
                f"{central.n_rows} of {central.shape[0]}, and cannot be sampled along axis {axis} "
                "before it is full"
            )
        rows.append(central.shape[axis] if axis else central.n_rows)
    n_rows = min(rows, default=0)
    if with_central:
        made[_CENTRAL] = central.spec(n_rows, axis)
        if central.shapes is not None:
            made |= _shapes_of([central], n_rows)
    for item in objects:
        made[item.name] = item.spec(n_rows)
        made |= _shapes_of([item], n_rows)
    return made


def _by_element(central: _Object, objects: Sequence[_Object]) -> dict[str, FileSpec]:
    limits = list(central.shape)
    limits[0] = central.n_rows
    for item in objects:
        assert item.axis is not None
        limits[item.axis] = min(limits[item.axis], item.n_rows)
    made: dict[str, FileSpec] = {}
    if central.mode == "N-D":
        at = _every_index(central, limits)
        within = np.ravel_multi_index(at[1:], central.shape[1:]) if len(at) > 1 else None
        made[_CENTRAL] = Picked(Dense(_CENTRAL, dtype=central.load), at=at[0], within=within)
    elif central.mode == "coo":
        at = _stored_indices(central)
        kept = np.all([index < n for index, n in zip(at, limits, strict=True)], axis=0)
        data = Dense(f"{_CENTRAL}/data", dtype=central.load)
        made[_CENTRAL] = data if kept.all() else Picked(data, at=np.flatnonzero(kept))
        at = at if kept.all() else [index[kept] for index in at]
    else:
        raise ConfigError(
            f'{central.node.file.filename}: sampling="coo" needs a central object stored as N-D or '
            f"coo, not {central.mode}; use sampling=0"
        )
    for item in objects:
        assert item.axis is not None
        index = at[item.axis]
        made[item.name] = Picked(item.spec(item.n_rows), at=index)
        for name, shapes in _shapes_of([item], item.n_rows).items():
            made[name] = Picked(shapes, at=index)
    return made


def _every_index(central: _Object, limits: Sequence[int]) -> list[np.ndarray]:
    count = 1
    for n in limits:
        count *= n
    if count > _MOST_ELEMENTS:
        raise ConfigError(
            f"{central.node.file.filename}: the central object has {count} elements, too many to "
            f"take one by one (at most {_MOST_ELEMENTS}); sample along an axis instead"
        )
    return [axis.reshape(-1) for axis in np.indices(limits, np.int64)]


_MOST_ELEMENTS = 2**28
"""Of a dense central object, taken one by one: 2 GiB of places for each axis."""


def _stored_indices(central: _Object) -> list[np.ndarray]:
    indices = read_bounded(central.node["indices"])
    if indices.dtype.kind not in "iu":
        raise refuse(central.node["indices"], f"has elements of {indices.dtype}, not integers")
    for axis, (index, n) in enumerate(zip(indices, central.shape, strict=True)):
        outside = np.flatnonzero((index < 0) | (index >= n))
        if len(outside):
            raise refuse(
                central.node,
                f"has element {outside[0]} at index {index[outside[0]]} of axis {axis}, which has "
                f"{n} rows",
            )
    return [index.astype(np.int64) for index in indices]


def _in_order(
    file: h5py.File,
    made: dict[str, FileSpec],
    fields: Sequence[str] | None,
    sampling: Sampling,
) -> dict[str, FileSpec]:
    if fields is None:
        return made
    for name in fields:
        if name not in made:
            raise ConfigError(
                f"{file.filename}: there is no field {name!r} with sampling={sampling!r}"
            )
    return {name: made[name] for name in fields}


def _windows(
    file: h5py.File,
    name: str,
    spec: FileSpec,
    window_size: int | None,
    overlap: int,
    window_indices: Sequence[tuple[int, int]] | None,
) -> FileSpec:
    if not isinstance(spec, Dense):
        raise ConfigError(
            f"{file.filename}: windows are for plain datasets sampled along an axis, not for "
            f"{name!r}; take windows as batches: subset=h5stream.window_rows(...) and "
            "batch_size=window_size"
        )
    if window_indices is not None:
        if window_size is not None or overlap:
            raise ConfigError("pass either window_indices, or window_size and overlap")
        bounds = np.asarray(window_indices, np.int64).reshape(-1, 2)
        return FileSlices(spec, starts=bounds[:, 0].copy(), stops=bounds[:, 1].copy())
    if window_size is None or not 0 <= overlap < window_size:
        raise ConfigError(
            f"window_size={window_size} and overlap={overlap}: windows must be longer than what "
            "they share"
        )
    return Slices(spec, length=window_size, stride=window_size - overlap)
