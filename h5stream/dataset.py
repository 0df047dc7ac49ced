"""Dataset: random access to the same fields, for samplers, debugging and notebooks.

Row chunks are read whole, decoded once and kept for a while, so that rows that lie together cost
one read. A stream reads in an order that suits the file; a sampler's order does not, so here each
batch pays for the chunks that it touches.
"""

from __future__ import annotations

import inspect
import os
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.utils.data

from h5stream.arguments import a_callable, a_seed, is_integer
from h5stream.block import Block
from h5stream.collation import CollateOptions, Collation, Sample, collate_counted
from h5stream.columns import arrays, own
from h5stream.errors import ConfigError
from h5stream.fields import Asked, Rows
from h5stream.opening import Sources
from h5stream.pipes import open_files
from h5stream.pipes.hints import refuse_unknown
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.shared import SharedWords
from h5stream.pipes.shown import html_of_files, show_files
from h5stream.pipes.transform import (
    as_sample,
    checked,
    keep_generators,
    wants_generator,
    with_seed,
)
from h5stream.plan import Pieces, RowChunks, row_seeds
from h5stream.reader import Catalog, Reader, Stats

__all__ = ["Dataset"]

_ROW_CHUNK_BYTES = 16 * 2**10
"""Unchunked rows are read in pieces of this size; chunks stay whole."""

_CACHE_BYTES = 64 * 2**20

_MANY = 256
"""Row chunks that are decoded again, from which on that is worth a word."""


class Dataset(torch.utils.data.Dataset[Any]):
    """Rows of HDF5 files by their number.

    Parameters
    ----------
    sources : path or sequence of paths
        As for `H5Stream`.
    fields : mapping, sequence of str, or None
        As for `H5Stream`.
    transform : callable or None
        Makes a sample of a sample, as that of `H5Stream`.
    seed : int or None
        What `transform` draws at random belongs to the seed, the epoch and the row, as with
        `H5Stream`; tell each epoch with `set_epoch`. None: it is drawn from the generators of this
        process, which a `DataLoader` seeds in its workers.
    collate : callable or None
        Makes the sample out of a dict of values; None: tensors (`h5stream.collate`). A `DataLoader`
        with a `batch_size` then needs no `collate_fn`, also where rows are ragged or sparse.
    cache_bytes : int
        Decoded row chunks that are kept, least recently used first to go.
    **options
        How ragged and sparse rows become tensors, as `h5stream.collate` takes it; and what else
        `open_files` takes: `subset`, in whose order rows are numbered; `convention`;
        `storage_options` and others for remote files.

    Raises
    ------
    ConfigError
        If an argument is wrong in itself. What does not fit the files is raised when they are
        first looked at.

    Examples
    --------
    >>> import h5stream as h5s
    >>> cells = h5s.Dataset(h5s.example_file(), {"x": "X", "cell_type": "obs[louvain]"})
    >>> len(cells)
    700
    >>> cells[3]["x"].shape
    torch.Size([765])
    >>> cells[[3, 1]]["x"].shape
    torch.Size([2, 765])
    >>> loader = torch.utils.data.DataLoader(cells, batch_size=64, shuffle=True)
    >>> next(iter(loader))["x"].shape
    torch.Size([64, 765])
    """

    def __init__(
        self,
        sources: Sources,
        fields: Mapping[str, Asked] | Sequence[str] | None = None,
        *,
        transform: Callable[..., Any] | None = None,
        seed: int | None = None,
        collate: Callable[[dict[str, Any]], Any] | None = None,
        cache_bytes: int = _CACHE_BYTES,
        **options: Any,
    ) -> None:
        refuse_unknown("Dataset", options, _ARGUMENTS)
        if cache_bytes < 0:
            raise ConfigError(f"cache_bytes must not be negative, but is {cache_bytes}")
        of_batches = {name: options.pop(name) for name in _COLLATION & options.keys()}
        if collate is not None and of_batches:
            raise ConfigError(
                f"a function of yours makes the samples, so {', '.join(of_batches)} would do "
                "nothing; call h5stream.collate() in it, or leave it out"
            )
        opened = open_files(sources, fields, **options).stages[0]
        assert isinstance(opened, OpenFiles), "a pipe begins with its files"
        self._files = opened
        self._transform = None if transform is None else a_callable("transform", transform)
        self._seed = None if seed is None else a_seed(seed)
        self._epoch = SharedWords(1)
        self._collate = collate
        self._collation = Collation.from_options(of_batches)
        self._cache_bytes = cache_bytes
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._reader: Reader | None = None
        self._chunks: RowChunks | None = None
        self._blocks: OrderedDict[int, tuple[Block, int]] = OrderedDict()
        self._again = _Again()
        self._stats = Stats()
        self._lock = threading.Lock()

    @property
    def catalog(self) -> Catalog:
        """What the files hold; scans them if that has not been done."""
        return self._files.catalog

    @property
    def categories(self) -> dict[str, list[Any]]:
        """What the codes of categories stand for; see `Pipe.categories`."""
        return self.catalog.categories

    def rows(self) -> Rows:
        """Say which file and group each row comes from; see `Pipe.rows`."""
        return self.catalog.rows()

    def __len__(self) -> int:
        return self.catalog.n_rows

    def __repr__(self) -> str:
        return f"Dataset({show_files(self._files)})"

    def _repr_html_(self) -> str:
        return html_of_files("Dataset", self._files)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, to whatever is drawn by it: also to workers that run already.

        Parameters
        ----------
        epoch : int
            Not negative.
        """
        if not is_integer(epoch) or epoch < 0:
            raise ConfigError(f"epoch must be an integer of 0 or more, not {epoch!r}")
        self._epoch.words[0] = epoch

    def stats(self) -> dict[str, float]:
        """Return what this process did so far: bytes, rows and seconds."""
        with self._lock:
            return {**self._stats.as_dict(), **self._again.as_dict()}

    def __getitem__(self, index: Any) -> Any:
        """Return one sample; of a list, an array or a slice of rows, a batch.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        if isinstance(index, slice):
            return self.batch(range(*index.indices(len(self))))
        if np.ndim(index):
            return self.batch(index)
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Return samples; each row chunk is read once."""
        rows = self._checked(indices)
        return [self._collated(sample) for sample in self._samples(self._rows(rows), rows)]

    def batch(self, indices: Sequence[int]) -> Any:
        """Return rows as one batch.

        Parameters
        ----------
        indices : sequence of int
            In the order in which they come; they may repeat.

        Raises
        ------
        IndexError
            If there is no such row.
        """
        rows = self._checked(indices)
        block = self._rows(rows)
        if self._transform is not None:
            block = Block.stack(list(self._samples(block, rows)))
        return self._collated(block)

    def _samples(self, block: Block, rows: np.ndarray) -> Iterator[Any]:
        """Take a block apart, and transform its samples."""
        if self._transform is None:
            return block.samples()
        samples = (as_sample(sample, self._collate is None) for sample in block.samples())
        return self._transformed(self._transform, samples, rows)

    def _transformed(
        self, function: Callable[..., Any], samples: Iterator[Any], rows: np.ndarray
    ) -> Iterator[Any]:
        name = getattr(function, "__qualname__", "transform")
        if self._seed is None:
            own = wants_generator(function)
            return (
                checked(name, function(each, generator=_generator()) if own else function(each))
                for each in samples
            )
        seeds = row_seeds(rows, seed=self._seed, epoch=int(self._epoch.words[0])).tolist()
        apply = with_seed(function)
        with keep_generators():
            made = [
                checked(name, apply(each, seed)) for each, seed in zip(samples, seeds, strict=True)
            ]
        return iter(made)

    def _collated(self, values: Any) -> Any:
        if self._collate is not None:
            return self._collate(arrays(values.columns) if isinstance(values, Block) else values)
        made = collate_counted(values, self._collation)[0]
        is_sample = not isinstance(values, Block) and isinstance(made, dict)
        return Sample(made, self._collation) if is_sample else made

    def _rows(self, rows: np.ndarray) -> Block:
        if self._process != os.getpid():
            self._start()  # files, buffers, blocks and locks belong to one process
        with self._lock:
            chunks = self._prepared()
            numbers = np.searchsorted(chunks.ends, rows, side="right")
            blocks = self._read(np.unique(numbers))
        within = rows - (chunks.ends - chunks.sizes)[numbers]
        order = np.argsort(numbers, kind="stable")
        places = np.split(within[order], np.flatnonzero(np.diff(numbers[order])) + 1)
        # Joining copies: what a caller writes to must not be what is kept.
        chosen = Block.concat([b.take(at) for b, at in zip(blocks, places, strict=True)])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return chosen if len(blocks) == 1 else chosen.take(back)

    def _checked(self, indices: Sequence[int]) -> np.ndarray:
        rows = np.asarray(indices)
        if rows.ndim != 1 or not len(rows) or rows.dtype.kind not in "iu":
            raise ConfigError(f"rows are asked for by a list of integers, not {indices!r:.80}")
        rows = rows.astype(np.int64)
        n_rows = len(self)
        outside = (rows < -n_rows) | (rows >= n_rows)
        if outside.any():
            raise IndexError(f"there is no row {rows[outside][0]}: the files have {n_rows} rows")
        return np.where(rows < 0, rows + n_rows, rows)

    def _prepared(self) -> RowChunks:
        """Return the row chunks."""
        if self._chunks is None or self._reader is None:
            self._reader = Reader(self.catalog, self._stats)
            self._chunks = self.catalog.row_chunks(_ROW_CHUNK_BYTES)
        return self._chunks

    def _read(self, numbers: np.ndarray) -> list[Block]:
        """Return the blocks of row chunks: those in the cache, and the others in one go."""
        assert self._reader is not None, "made when it was first needed"
        assert self._chunks is not None, "made when it was first needed"
        found = {n: self._blocks[n] for n in numbers.tolist() if n in self._blocks}
        missing = [number for number in numbers.tolist() if number not in found]
        if missing:
            picked = self._chunks.take(np.array(missing))
            reads = self._reader.window(
                Pieces(picked.file, picked.start, picked.stop), seed=self._seed or 0
            )
            self._again.count(missing, self._chunks, self.catalog.row_nbytes, self._cache_bytes)
            self._reader.run(reads)
            reads.check_unchanged()
            reads.check_values()
            read, begin = Block(reads.columns), 0
            for number, size in zip(missing, picked.sizes.tolist(), strict=True):
                owned = {
                    name: own(column)
                    for name, column in read.part(begin, begin + size).columns.items()
                }
                block = Block({name: column for name, (column, _nbytes) in owned.items()})
                found[number] = block, sum(nbytes for _column, nbytes in owned.values())
                begin += size
        self._keep(found)
        return [found[number][0] for number in numbers.tolist()]

    def _keep(self, found: Mapping[int, tuple[Block, int]]) -> None:
        for number, kept in found.items():
            self._blocks[number] = kept
            self._blocks.move_to_end(number)
        held = sum(nbytes for _block, nbytes in self._blocks.values())
        while self._blocks and held > self._cache_bytes:
            _number, (_block, nbytes) = self._blocks.popitem(last=False)
            held -= nbytes

    def __getstate__(self) -> dict[str, Any]:
        here = ("_process", "_reader", "_chunks", "_blocks", "_again", "_stats", "_lock")
        return {name: value for name, value in vars(self).items() if name not in here}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()


class _Again:
    """Counts row chunks that are decoded again because the cache let them go, and warns of it."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._decoded = self._repeated = 0
        self._warned = False

    def count(
        self, numbers: Sequence[int], chunks: RowChunks, row_nbytes: int, cache_bytes: int
    ) -> None:
        """Count row chunks that are decoded."""
        self._decoded += len(numbers)
        self._repeated += len(self._seen.intersection(numbers))
        self._seen.update(numbers)
        if self._warned or self._repeated < max(_MANY, len(self._seen)):
            return
        self._warned = True
        warnings.warn(
            f"row chunks of a Dataset were decoded {self._decoded} times, though there are "
            f"{len(self._seen)} of them: rows are asked for in an order in which the cache of "
            f"{cache_bytes} bytes does not help; where each row is wanted once, a shuffled "
            "H5Stream decodes each once, or keep all with "
            f"cache_bytes={chunks.n_rows * row_nbytes}",
            stacklevel=5,
        )

    def as_dict(self) -> dict[str, float]:
        """Return how many row chunks were decoded, and how many of them again."""
        return {"decoded_row_chunks": self._decoded, "decoded_again": self._repeated}


def _generator() -> np.random.Generator:
    """Make a generator out of torch's, which differs from worker to worker."""
    seed = int(torch.randint(2**63 - 1, ()).item())
    return np.random.Generator(np.random.Philox(key=seed))


_COLLATION = frozenset(CollateOptions.__annotations__)
_ARGUMENTS = (
    frozenset(inspect.signature(open_files).parameters)
    | frozenset(inspect.signature(Dataset).parameters) - {"options"}
    | _COLLATION
)
