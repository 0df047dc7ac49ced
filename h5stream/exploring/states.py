"""States of models and optimizers, as arrays and a tree in JSON: nothing is pickled.

A state is a group: dataset ``tree`` holds JSON in UTF-8, datasets ``0``, ``1``, … the tensors. Each
node of the tree is a list: its kind and what it holds.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import torch

from h5stream.conventions.nodes import find_dataset, read_bounded, refuse
from h5stream.errors import WriteError

__all__ = ["pack_state", "unpack_state"]

_TREE = "tree"
_DEEPEST = 200

_NATIVE = {
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float64,
    torch.complex64,
    torch.complex128,
}
"""Types that HDF5 stores as they are; others are stored as their bytes."""

_MAPPINGS: dict[str, Any] = {"dict": dict, "ordered": OrderedDict}
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple}


def pack_state(state: Any) -> tuple[bytes, list[np.ndarray]]:
    """Take a state apart into text and arrays.

    Parameters
    ----------
    state : dict, list, tensor, number, string or None
        Of these, in one another.

    Raises
    ------
    WriteError
        If it holds something else.
    """
    arrays: list[np.ndarray] = []
    tree = _pack(state, arrays, "state", 0)
    return json.dumps(tree).encode(), arrays


def _pack(value: Any, arrays: list[np.ndarray], where: str, depth: int) -> list[Any]:
    if depth > _DEEPEST:
        raise WriteError(f"{where} lies more than {_DEEPEST} deep")
    if isinstance(value, torch.Tensor):
        return _pack_tensor(value, arrays, where)
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in "biufc":
            raise WriteError(f"{where} is an array of {value.dtype}; only numbers are stored")
        arrays.append(np.asarray(value))
        return ["array" if isinstance(value, np.ndarray) else "scalar", len(arrays) - 1]
    if value is None or isinstance(value, bool | int | float | str):
        return ["value", value]
    if type(value) in (dict, OrderedDict):
        kind = "ordered" if type(value) is OrderedDict else "dict"
        pairs = []
        for key, each in value.items():
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise WriteError(f"{where} has the key {key!r:.80}; keys are strings or integers")
            pairs.append([key, _pack(each, arrays, f"{where}[{key!r}]", depth + 1)])
        return [kind, pairs]
    if type(value) in (list, tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return [
            kind,
            [_pack(each, arrays, f"{where}[{n}]", depth + 1) for n, each in enumerate(value)],
        ]
    raise WriteError(
        f"{where} is a {type(value).__name__}; states hold dicts, lists, tuples, tensors, numbers, "
        "strings and None"
    )


def _pack_tensor(tensor: torch.Tensor, arrays: list[np.ndarray], where: str) -> list[Any]:
    if tensor.layout != torch.strided or tensor.is_quantized:
        raise WriteError(f"{where} is a {tensor.layout} tensor; store it dense")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.dtype not in _NATIVE:
        plain = plain.reshape(-1).view(torch.uint8)
    arrays.append(plain.numpy())
    return ["tensor", len(arrays) - 1, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]


def unpack_state(group: Any) -> Any:
    """Put a state together again.

    Parameters
    ----------
    group : h5py.Group
        Where it was stored.

    Raises
    ------
    LayoutError
        If it is damaged.
    """
    try:
        tree = json.loads(bytes(read_bounded(find_dataset(group, _TREE, 1))))
        return _unpack(tree, group, 0)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, RuntimeError) as error:
        raise refuse(group, f"is no state that was stored here: {error}") from error


def _unpack(node: Any, group: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        raise ValueError("it is too deep")
    kind, value = node[0], node[1]
    if kind == "value":
        if not isinstance(value, str | int | float | None):
            raise ValueError(f"{value!r:.80} is no value")
        return value
    if kind in _MAPPINGS:
        return _MAPPINGS[kind]((key, _unpack(each, group, depth + 1)) for key, each in value)
    if kind in _SEQUENCES:
        return _SEQUENCES[kind](_unpack(each, group, depth + 1) for each in value)
    array = read_bounded(find_dataset(group, str(int(value))))
    if kind == "tensor":
        return _tensor(array, node[2], node[3])
    if kind not in ("array", "scalar"):
        raise ValueError(f"{kind!r:.80} is no kind of node")
    return array if kind == "array" else array[()]


def _tensor(array: Any, name: Any, shape: Any) -> torch.Tensor:
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name!r:.80} is no type of torch")
    tensor = torch.from_numpy(np.array(array))
    if dtype not in _NATIVE:
        tensor = tensor.view(dtype)
    if tensor.dtype != dtype:
        raise TypeError(f"a tensor of {dtype} is stored as {tensor.dtype}")
    return tensor.reshape([int(size) for size in shape])
