"""Ragged columns -> tensors: padded, nested, packed, or a list."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch

from h5stream.collation.options import Collation
from h5stream.collation.tensors import to_tensor
from h5stream.columns import Ragged
from h5stream.errors import ConfigError, UnsupportedError

__all__ = ["Packed", "Padding", "collate_ragged", "pad"]

_LONG_ROW = 256
"""From this many elements a row on, copying row by row beats an index of every element."""


class Packed(NamedTuple):
    """Rows of unequal length, one after the other, as variable-length attention takes them.

    ``flash_attn_varlen_func`` takes ``cu_seqlens`` and ``max_seqlen`` as they are.
    """

    values: torch.Tensor
    """Shape (total, ...): the elements of all rows."""

    cu_seqlens: torch.Tensor
    """int32, shape (rows + 1,): row i is ``values[cu_seqlens[i] : cu_seqlens[i + 1]]``."""

    max_seqlen: int
    """Length of the longest row."""


class Padding(NamedTuple):
    """How many elements a padded batch has, and how many of them are padding."""

    elements: int = 0
    padding: int = 0


def collate_ragged(name: str, column: Ragged, options: Collation) -> tuple[dict[str, Any], Padding]:
    """Turn a ragged column into what stands in the batch for it, by key.

    Parameters
    ----------
    name : str
        Its field.
    column : Ragged
        Rows of numbers or text.
    options : Collation
        Of all fields.

    Raises
    ------
    ConfigError
        If the padding value does not fit the type of the elements, or bytes are asked for and
        there are none.
    UnsupportedError
        If torch has no such type.
    """
    form = options.of("ragged", name)
    if form == "bytes":
        return {name: _as_bytes(name, column)}, Padding()
    if column.text:
        return {name: column.strings()}, Padding()
    column = _truncated(column, options.of("max_length", name))
    if form == "padded":
        return _padded(name, column, options)
    values, offsets = _joined(name, column), column.offsets
    if form == "list":
        return {name: list(torch.split(values, column.lengths.tolist()))}, Padding()
    longest = int(column.lengths.max(initial=0))
    if form == "packed":
        return {
            name: Packed(values, torch.from_numpy(offsets.astype(np.int32)), longest)
        }, Padding()
    shortest = int(column.lengths.min(initial=longest))
    nested = torch.nested.nested_tensor_from_jagged(
        values, torch.from_numpy(offsets), min_seqlen=shortest, max_seqlen=longest
    )
    return {name: nested}, Padding()


def pad(
    column: Ragged, width: int, *, value: complex = 0, left: bool = False, name: str = "value"
) -> np.ndarray:
    """Copy rows into an array, with padding after them or before.

    Parameters
    ----------
    column : Ragged
        Rows; longer ones are cut to their first `width` elements.
    width : int
        Length of every row of the array.
    value : number
        What stands where a row has no element.
    left : bool
        Pad before the rows.
    name : str
        Field, for messages.

    Returns
    -------
    numpy.ndarray
        Shape (rows, width, ...).

    Raises
    ------
    ConfigError
        If the type of the elements cannot hold the value.

    Examples
    --------
    >>> pad(Ragged(np.array([1, 2, 3]), np.array([0, 2, 3])), 2)
    array([[1, 2],
           [3, 0]])
    """
    n_rows, element = len(column), column.element_shape
    out = np.empty((n_rows * width, *element), column.dtype)
    out[...] = _fill(value, column.dtype, name)
    kept = np.minimum(column.lengths, width)
    firsts = np.arange(n_rows) * width + (width - kept if left else 0)
    ends = np.cumsum(kept)
    total = int(ends[-1]) if n_rows else 0
    if total >= _LONG_ROW * n_rows:
        rows = (firsts.tolist(), column.starts.tolist(), kept.tolist())
        for first, start, length in zip(*rows, strict=True):
            out[first : first + length] = column.stored[start : start + length]
    else:
        steps, before = np.arange(total), ends - kept
        into = np.repeat(firsts - before, kept)
        into += steps
        steps += np.repeat(column.starts - before, kept)
        out[into] = column.stored.take(steps, axis=0)
    return out.reshape(n_rows, width, *element)


def _fill(value: complex, dtype: np.dtype[Any], name: str) -> np.ndarray:
    if value == 0:
        return np.zeros((), dtype)
    try:
        with np.errstate(invalid="ignore"):
            fill = np.asarray(value if dtype.kind == "c" else _real(value)).astype(dtype)
        fits = dtype.kind not in "iub" or fill == value
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise ConfigError(
            f"padding_value {value!r} does not fit field {name!r} of {dtype}; choose one that "
            "does, or convert the field with map()"
        )
    return fill


def _real(value: Any) -> Any:
    if np.iscomplexobj(value):
        raise TypeError("a complex number")
    return value


def _padded(name: str, column: Ragged, options: Collation) -> tuple[dict[str, Any], Padding]:
    width = options.of("pad_to", name)
    if width is None:
        width = int(column.lengths.max(initial=0))
        multiple = options.of("pad_to_multiple_of", name) or 1
        width = -(-width // multiple) * multiple
    lengths = np.minimum(column.lengths, width)
    value, left = options.of("padding_value", name), options.of("padding_side", name) == "left"
    padded = pad(column, int(width), value=value, left=left, name=name)
    batch = {name: to_tensor(padded, name)}
    info = options.of("padding_info", name)
    if info in ("lengths", "both"):
        batch[f"{name}_lengths"] = torch.from_numpy(lengths)
    if info in ("mask", "both"):
        places, held = np.arange(width, dtype=np.int32), lengths.astype(np.int32)[:, None]
        mask = places >= width - held if left else places < held
        batch[f"{name}_mask"] = torch.from_numpy(mask)
    elements = len(column) * int(width)
    return batch, Padding(elements, elements - int(lengths.sum()))


def _truncated(column: Ragged, length: int | None) -> Ragged:
    if length is None:
        return column
    lengths = np.minimum(column.lengths, length)
    return Ragged.placed(column.stored, column.starts, lengths, text=column.text)


def _joined(name: str, column: Ragged) -> torch.Tensor:
    values = column.values
    tensor = to_tensor(values if values.flags.writeable else values.copy(), name)
    if not isinstance(tensor, torch.Tensor):
        raise UnsupportedError(
            f"field {name!r} of {column.dtype} is no tensor and can only be padded; ask for "
            f'ragged={{"{name}": "padded"}}'
        )
    return tensor


def _as_bytes(name: str, column: Ragged) -> list[bytes]:
    if column.dtype != np.uint8 or column.element_shape:
        raise ConfigError(
            f"field {name!r} has rows of {column.dtype}{column.element_shape}; only rows of uint8 "
            'can be "bytes"'
        )
    data = column.values.tobytes()
    return [data[start:stop] for start, stop in pairwise(column.offsets.tolist())]
