"""Puts a batch together, column by column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

import numpy as np
import torch

from h5stream.block import Block
from h5stream.collation.options import CollateOptions, Collation
from h5stream.collation.ragged import Padding, collate_ragged
from h5stream.collation.sparse import collate_sparse
from h5stream.collation.tensors import TENSOR_CHARS, to_tensor
from h5stream.columns import Ragged, Sparse, arrays
from h5stream.errors import ConfigError
from h5stream.tree import Tree, leaves_of, tree_of

__all__ = ["collate", "collate_counted"]


def collate(item: Mapping[str, Any], **options: Unpack[CollateOptions]) -> dict[str, Any]:
    """Turn the columns of a block, or the values of a sample, into tensors.

    Every option is one value for all fields, or a dict of values by field.

    Parameters
    ----------
    item : mapping of str to column or value
        Columns of some rows, or single values.

    Other Parameters
    ----------------
    ragged : {"padded", "nested", "packed", "list", "bytes"}
        What a column of rows of unequal length becomes: one tensor, padded; a jagged nested tensor
        (`torch.nested`); `Packed`, with cumulative lengths, for variable-length attention; a list
        of tensors; or, for rows of uint8, a list of `bytes`. Text always becomes a list of `str`.
        A field that a dict names is taken as ragged even if all its rows are equally long.
    padding_value : number
        What stands where a row has no element; 0 by default.
    padding_side : {"right", "left"}
        Where.
    padding_info : {"lengths", "mask", "both", "none"}
        What tells elements from padding: the length of each row as ``"<field>_lengths"``, int64 of
        shape (rows,), and a mask that is True where there are elements as ``"<field>_mask"``, bool
        of shape (rows, length).
    pad_to : int or None
        Pad every batch to this length, and cut longer rows to it; None: to its longest row.
    pad_to_multiple_of : int or None
        Pad on to a multiple of this.
    max_length : int or None
        Cut longer rows to their first elements.
    sparse : {"csr", "dense", "pairs"}
        What rows of a sparse matrix become: a `torch.sparse_csr` tensor, a dense one, or `Pairs`
        of indices and values.

    Returns
    -------
    dict
        Tensors of the same shapes; lists of `str` for strings; dicts for compounds. A ragged row
        of a single sample becomes a tensor of its own length, and a sparse one a vector if dense.

    Raises
    ------
    ConfigError
        If an option is not allowed, names a field that is not there, or its key is taken.
    UnsupportedError
        If torch has no such type.
    DecodeError
        If strings are not UTF-8.

    Examples
    --------
    >>> collate({"x": np.zeros((2, 3), np.float32), "name": np.array([b"a", b"b"])})
    {'x': tensor([[0., 0., 0.],
            [0., 0., 0.]]), 'name': ['a', 'b']}
    >>> tokens = Ragged(np.array([5, 6, 7]), np.array([0, 2, 3]))
    >>> collate({"tokens": tokens}, padding_value=-1)
    {'tokens': tensor([[ 5,  6],
            [ 7, -1]]), 'tokens_lengths': tensor([2, 1])}
    """
    return collate_counted(item, Collation.from_options(options))[0]


def collate_counted(item: Any, options: Collation) -> tuple[Any, list[Padding]]:
    """Do the same with checked options, and count what was padded in each padded column."""
    if isinstance(item, Block):
        batch, counts = _collate_values(arrays(item.columns), options, is_block=True)
        return (batch if item.tree is None else _rebuilt(item.tree, batch)), counts
    if isinstance(item, dict) and not any(type(v) in (dict, tuple, list) for v in item.values()):
        return _collate_values(item, options, is_block=False)
    tree = tree_of(item)
    batch, counts = _collate_values(leaves_of(item, tree), options, is_block=False)
    return (batch if tree.is_plain else _rebuilt(tree, batch)), counts


def _rebuilt(tree: Tree, batch: dict[str, Any]) -> Any:
    """Put a batch together; what tells padding stands beside its field, which a dict has room for.

    Raises
    ------
    ConfigError
        If it has nowhere to stand.
    """
    holders = tree.holders()
    for key in batch.keys() - (holders.keys() or {"value"}):
        field = next(name for name in holders if key in (f"{name}_lengths", f"{name}_mask"))
        raise ConfigError(
            f"rows of field {field!r} are of unequal length, and what tells their padding has no "
            'place in a tree: pass padding_info="none", or ragged="list", or make samples flat '
            "dicts"
        )
    return tree.build(batch.__getitem__)


def _collate_values(
    values: Mapping[str, Any], options: Collation, *, is_block: bool
) -> tuple[dict[str, Any], list[Padding]]:
    if not options.named <= values.keys():
        unknown = sorted(options.named - values.keys())
        raise ConfigError(f"options of collate name {unknown}, but the fields are {list(values)}")
    batch: dict[str, Any] = {}
    counts: list[Padding] = []
    for name, value in values.items():
        if is_block and isinstance(value, np.ndarray) and options.treats_as_ragged(name):
            value = _as_ragged(name, value)
        if isinstance(value, np.ndarray) and value.dtype.char in TENSOR_CHARS:
            batch[name] = torch.from_numpy(value)
        elif isinstance(value, Ragged):
            parts, count = collate_ragged(name, value, options)
            _check_keys(parts.keys() - {name}, values)
            batch.update(parts)
            counts.append(count)
        elif isinstance(value, Sparse):
            sample = not is_block and len(value) == 1
            batch[name] = collate_sparse(name, value, options.of("sparse", name), sample=sample)
        else:
            batch[name] = to_tensor(value, name)
    return batch, counts


def _as_ragged(name: str, array: np.ndarray) -> Ragged:
    if array.ndim < 2:
        raise ConfigError(f"field {name!r} has single elements as rows and cannot be ragged")
    return Ragged.from_array(array)


def _check_keys(new: set[str], taken: Mapping[str, Any]) -> None:
    for key in new & taken.keys():
        raise ConfigError(
            f"{key!r} would be the key of a field and of what tells its padding; rename the field, "
            'or choose another padding_info ("lengths", "mask" or "none")'
        )
