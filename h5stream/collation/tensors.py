"""Arrays and single values -> tensors.

Numbers become tensors of the same type without a copy, fixed-length strings become `str`, a
compound becomes a dict of its members. What torch has no type for is refused by name.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch

from h5stream.errors import DecodeError, UnsupportedError

__all__ = ["TENSOR_CHARS", "to_tensor"]

TENSOR_CHARS = frozenset("?bBhHiIlLqQefdFD")
"""Type characters of the arrays that become tensors without a copy."""


def to_tensor(value: Any, name: str = "value") -> Any:
    """Turn one array or value into a tensor, strings or a dict.

    Raises
    ------
    UnsupportedError
        If torch has no such type.
    DecodeError
        If strings are not UTF-8.

    Examples
    --------
    >>> to_tensor(np.float32(1.5)), to_tensor(np.array([b"a", b"b"]))
    (tensor(1.5000), ['a', 'b'])
    """
    if isinstance(value, torch.Tensor | str):
        return value
    array = np.asarray(value)
    if array.dtype.char in TENSOR_CHARS:
        return torch.from_numpy(array)
    if array.dtype == ml_dtypes.bfloat16:
        bits = torch.from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.int16))
        return bits.view(torch.bfloat16).reshape(array.shape)
    if array.dtype.names is not None:
        return {
            member: to_tensor(np.ascontiguousarray(array[member]), f"{name}[{member}]")
            for member in array.dtype.names
        }
    if array.dtype.kind == "S":
        return _decode_strings(array, name)
    if array.dtype.kind in "UO":
        return array.tolist()
    raise UnsupportedError(
        f"torch has no type for field {name!r} of {array.dtype}; convert it with map(), or stream "
        'it with output="numpy"'
    )


def _decode_strings(array: np.ndarray, name: str) -> Any:
    try:
        return np.strings.decode(array, "utf-8").tolist()
    except UnicodeDecodeError as error:
        raise DecodeError(
            f"{_place_of(error.object, array)} holds bytes in field {name!r} that are not UTF-8 "
            f"({error.object[:40]!r}); decode them with map(), or stream them as bytes with "
            'output="numpy"; the field "row" tells which row of the files a sample is'
        ) from error


def _place_of(value: bytes, array: np.ndarray) -> str:
    if not array.ndim:
        return "the sample"
    at = np.argmax((array == value).reshape(len(array), -1).any(axis=1))
    return f"sample {at} of a batch"
