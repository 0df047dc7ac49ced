"""statistics: mean, deviation, extremes and counts of fields, in one pass over the files.

1. The files' row chunks are dealt to a fixed number of parts; each rank takes every so many-th.
2. The moments of a part's row chunks are merged in their order; then those of the parts.

So every row counts once, and all ranks get the same numbers to the last bit, however many there
are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Any

import numpy as np
import torch

from h5stream.block import Block
from h5stream.cancellation import Cancellation
from h5stream.columns import Moments, merge_moments, moments_of
from h5stream.dataset import Dataset
from h5stream.errors import ConfigError
from h5stream.pipes import Pipe
from h5stream.pipes.mix import Mix
from h5stream.pipes.read_chunks import ReadAhead
from h5stream.pipes.stage import Runtime
from h5stream.plan import Pieces, join_bounds
from h5stream.reader import Catalog, Reader, Stats
from h5stream.system import available_cores

__all__ = ["Normalize", "Statistics", "statistics"]

_PARTS = 256
_CHUNK_BYTES = 2**20
_AHEAD = 8

Keep = int | Sequence[int] | None


@dataclass(frozen=True, eq=False)
class Statistics:
    """What is known of a field of all rows.

    Parameters
    ----------
    rows : int
        Rows.
    count, missing : tensor or None
        Elements that are numbers, and that are NaN; None for text.
    mean, std : tensor or None
        float64; the deviation of the elements themselves, not an estimate from a sample.
    min, max : tensor or None
        float64.
    counts : dict or None
        How often each value comes, for integers, booleans and text with at most 4096 of them.
    keep : tuple of int
        Axes of a row that the tensors have.
    """

    rows: int
    count: torch.Tensor | None = None
    missing: torch.Tensor | None = None
    mean: torch.Tensor | None = None
    std: torch.Tensor | None = None
    min: torch.Tensor | None = None
    max: torch.Tensor | None = None
    counts: dict[Any, int] | None = None
    keep: tuple[int, ...] = field(default=())

    def class_weights(self, n_classes: int | None = None) -> torch.Tensor:
        """Weigh classes so that all count alike: by rows / (classes * rows of the class).

        Parameters
        ----------
        n_classes : int or None
            Classes are numbered from 0; None: up to the largest that comes.

        Returns
        -------
        tensor
            float32, shape (n_classes,); 0 for a class without rows.

        Raises
        ------
        ConfigError
            If the field does not hold numbers of classes.

        Examples
        --------
        >>> Statistics(4, counts={0: 3, 1: 1}).class_weights()
        tensor([0.6667, 2.0000])
        """
        counts = self.counts or {}
        if not counts or not all(isinstance(key, int) and key >= 0 for key in counts):
            raise ConfigError(
                "only fields of class numbers from 0 on have class weights; counts tells how often "
                "each value comes"
            )
        size = max(counts) + 1 if n_classes is None else n_classes
        if max(counts) >= size:
            raise ConfigError(f"there is a class {max(counts)}, but n_classes={size}")
        weights = torch.zeros(size)
        total = sum(counts.values())
        for value, count in counts.items():
            weights[int(value)] = total / (len(counts) * count)
        return weights


def statistics(
    stream: Pipe | Dataset,
    fields: Sequence[str] | str | None = None,
    *,
    keep: Keep | Mapping[str, Keep] = None,
) -> dict[str, Statistics]:
    """Read all rows once, and say what is in them.

    What is counted is what the files hold, for the rows that the stream has (its `subset`), before
    any `transform` or `map`. Under torch.distributed all ranks must call it; they share the rows.

    Parameters
    ----------
    stream : H5Stream, Pipe or Dataset
        Whose rows.
    fields : sequence of str, str or None
        Keys of its fields; None: all.
    keep : int, sequence of int, or mapping of them by field
        Axes of a row that are kept: 0 gives one number a channel for images of shape (channels,
        height, width). None: one number for all.

    Returns
    -------
    dict of str to Statistics
        By field.

    Raises
    ------
    ConfigError
        If there is no such field, or it holds neither numbers nor text.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X", "y": "obs[louvain]"}, batch_size=128)
    >>> found = h5s.statistics(stream)
    >>> round(float(found["x"].max), 3)
    28.408
    >>> sum(found["y"].counts.values())
    700
    """
    if isinstance(stream, Pipe) and isinstance(stream.stages[0], Mix):
        raise ConfigError("statistics() is for one stream; ask for those of each that is mixed")
    catalog = stream.catalog
    names = [fields] if isinstance(fields, str) else list(fields or catalog.columns)
    for name in names:
        if name not in catalog.columns:
            has = ", ".join(catalog.columns)
            raise ConfigError(f"there is no field {name!r}; the stream has {has}")
    kept = {name: _axes(keep.get(name) if isinstance(keep, Mapping) else keep) for name in names}
    files = tuple(
        replace(file, fields={name: file.fields[name] for name in names}) for file in catalog.files
    )
    parts = _gathered(_parts(replace(catalog, files=files, numbered=False), kept))
    if not parts:
        raise ConfigError("there are no rows, and no statistics of them")
    return {
        name: _finished(reduce(merge_moments, (part[name] for part in parts)), kept[name])
        for name in names
    }


def _axes(keep: Keep) -> tuple[int, ...]:
    if keep is None:
        return ()
    return (keep,) if isinstance(keep, int) else tuple(keep)


_Found = dict[str, Moments]


def _parts(catalog: Catalog, keep: Mapping[str, tuple[int, ...]]) -> dict[int, _Found]:
    """Take the moments of the parts that are this rank's."""
    rank, world_size = _place()
    chunks = join_bounds([file.cut(_CHUNK_BYTES) for file in catalog.files])
    bounds = np.arange(_PARTS + 1) * len(chunks) // _PARTS
    own = [part for part in range(_PARTS) if part % world_size == rank]
    part_of = np.repeat(own, np.diff(bounds)[own])
    mine = chunks.take(np.flatnonzero(np.isin(np.arange(len(chunks)), _numbers(bounds, own))))
    found: dict[int, _Found] = {}
    for part, block in zip(part_of.tolist(), _blocks(catalog, mine), strict=True):
        moments = {name: moments_of(name, block[name], keep[name]) for name in block}
        before = found.get(part)
        found[part] = moments if before is None else _merged(before, moments)
    return found


def _numbers(bounds: np.ndarray, parts: Sequence[int]) -> np.ndarray:
    return np.concatenate([np.arange(bounds[part], bounds[part + 1]) for part in parts])


def _merged(one: _Found, other: _Found) -> _Found:
    return {name: merge_moments(one[name], other[name]) for name in one}


def _blocks(catalog: Catalog, chunks: Any) -> Iterator[Block]:
    """Read row chunks in their order, ahead of whoever looks at them."""
    stats = Stats()
    reader = Reader(catalog, stats)
    with ThreadPoolExecutor(available_cores(), thread_name_prefix="h5stream") as executor:
        runtime = Runtime((reader,), reader, executor, stats, Cancellation())
        pieces = Pieces(chunks.file, chunks.start, chunks.stop)
        blocks = ReadAhead(pieces, np.arange(len(pieces) + 1), runtime, ahead=_AHEAD)
        try:
            yield from blocks
        finally:
            blocks.close()
            reader.release_files()


def _place() -> tuple[int, int]:
    if not _is_distributed():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def _is_distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _gathered(own: dict[int, _Found]) -> list[_Found]:
    """Return the moments of all parts, in their order, on every rank."""
    every = [own]
    if _is_distributed():
        every = [{} for _rank in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather_object(every, own)
    parts = {number: found for some in every for number, found in some.items()}
    return [parts[number] for number in sorted(parts)]


def _finished(moments: Moments, keep: tuple[int, ...]) -> Statistics:
    if moments.mean is None:
        return Statistics(moments.rows, counts=moments.values, keep=keep)
    std = np.sqrt(moments.squares / np.maximum(moments.count, 1))
    floats = (moments.mean, std, moments.least, moments.most)
    known = np.asarray(moments.count) > 0
    mean, deviation, least, most = (
        torch.from_numpy(np.where(known, np.asarray(each, np.float64), np.nan)) for each in floats
    )
    count, missing = (
        torch.from_numpy(np.array(each, np.int64)) for each in (moments.count, moments.missing)
    )
    return Statistics(
        moments.rows, count, missing, mean, deviation, least, most, moments.values, keep
    )


@dataclass(frozen=True, eq=False)
class Normalize:
    """Subtract means and divide by deviations; a function of batches for ``stream.map``.

    Parameters
    ----------
    found : mapping of str to Statistics
        By field; the others stay as they are.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X"}, batch_size=700)
    >>> normalized = stream.map(h5s.Normalize(h5s.statistics(stream, "x")))
    >>> x = next(iter(normalized))["x"]
    >>> x.dtype, abs(float(x.mean())) < 1e-5, abs(float(x.std()) - 1) < 1e-3
    (torch.float32, True, True)
    """

    found: Mapping[str, Statistics]

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return the batch with its fields normalized, as float32."""
        normalized = {name: self._apply(batch[name], each) for name, each in self.found.items()}
        return {**batch, **normalized}

    def _apply(self, values: Any, found: Statistics) -> torch.Tensor:
        if found.mean is None or found.std is None:
            raise ConfigError("text cannot be normalized; leave its statistics out of Normalize()")
        tensor = torch.as_tensor(values)
        row_axes = tensor.ndim - 1
        shape = [1] * tensor.ndim
        for axis in found.keep:
            shape[1 + axis % row_axes] = tensor.shape[1 + axis % row_axes]
        std = torch.where(found.std > 0, found.std, torch.ones_like(found.std))
        mean, std = (
            each.to(tensor.device, torch.float32).reshape(shape) for each in (found.mean, std)
        )
        return (tensor.to(torch.float32) - mean) / std
