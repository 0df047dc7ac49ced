"""The chain of stages, and the methods that add them.

A pipe is a value: every method returns a longer pipe and leaves this one as it is. Only the count
of epochs is its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

from h5stream.errors import ConfigError
from h5stream.pipes.batch import Batch
from h5stream.pipes.collate import Collate
from h5stream.pipes.epoch import count_items, instance_of, ordered_chunks, plan_lanes
from h5stream.pipes.epochs import EpochCount
from h5stream.pipes.instance import Instance, find_rank
from h5stream.pipes.list_chunks import ListChunks
from h5stream.pipes.map import Map
from h5stream.pipes.open_files import OpenFiles
from h5stream.pipes.prefetch import Prefetch
from h5stream.pipes.read_chunks import ReadChunks
from h5stream.pipes.running import StreamIterator
from h5stream.pipes.shard import Shard
from h5stream.pipes.shuffle_chunks import ShuffleChunks
from h5stream.pipes.shuffle_rows import ShuffleRows
from h5stream.pipes.stage import Items, Stage
from h5stream.pipes.state import read_epoch
from h5stream.pipes.unbatch import Unbatch
from h5stream.pipes.where import Where
from h5stream.plan import RowChunk
from h5stream.plan.lanes import Uneven
from h5stream.reader import Catalog, Reader, Stats
from h5stream.reader.catalog import Sources

__all__ = ["Pipe", "open_files"]

_TARGET_BYTES = 2**20


class Pipe(IterableDataset[Any]):
    """A chain of stages from files to batches.

    Start one with `open_files`, and add stages with the methods. A pipe is an iterable dataset of
    torch: iterate over it, or pass it to a `DataLoader` with ``batch_size=None``.

    Parameters
    ----------
    stages : sequence of Stage
        The first opens files; each accepts what the one before gives.

    Raises
    ------
    ConfigError
        If two neighbours do not fit.

    Examples
    --------
    >>> import h5stream as h5s
    >>> pipe = (
    ...     h5s.open_files(h5s.example_file(), fields={"x": "X", "cell_type": "obs[louvain]"})
    ...     .list_chunks()
    ...     .shuffle_chunks(seed=0)
    ...     .shard()
    ...     .read_chunks()
    ...     .shuffle_rows()
    ...     .batch(128)
    ...     .collate()
    ... )
    >>> batch = next(iter(pipe))
    >>> batch["x"].shape, batch["cell_type"].dtype
    (torch.Size([128, 765]), torch.int8)
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._gives = _check_chain(self.stages)
        self._epochs = EpochCount()
        self._stats = Stats()
        self._state: dict[str, Any] | None = None
        self._reader: tuple[int, Reader] | None = None

    def then(self, stage: Stage) -> Pipe:
        """Add a stage; what all other methods do, and how a stage of your own is added."""
        return Pipe((*self.stages, stage))

    def list_chunks(self, target_bytes: int = _TARGET_BYTES) -> Pipe:
        """Cut the files into row chunks, on chunk boundaries of each file's heaviest field.

        Parameters
        ----------
        target_bytes : int
            Neighbouring chunks are joined up to this many decoded bytes, so that tiny chunks do
            not cost a call each.
        """
        return self.then(ListChunks(_positive("target_bytes", target_bytes)))

    def shuffle_chunks(self, seed: int = 0) -> Pipe:
        """Put the row chunks in another order in every epoch.

        Parameters
        ----------
        seed : int
            In [0, 2**64). Also keys the permutations of `shuffle_rows`.
        """
        if not _is_int(seed) or not 0 <= seed < 2**64:
            raise ConfigError(f"seed must be an integer in [0, 2**64), not {seed!r}")
        return self.then(ShuffleChunks(int(seed)))

    def shard(
        self,
        *,
        lanes: int | None = None,
        uneven: Uneven | None = None,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> Pipe:
        """Keep the lanes of this rank and this DataLoader worker.

        Parameters
        ----------
        lanes : int, optional
            How many lanes the epoch has. Fixed, the order of batches is the same for every
            number of ranks and workers that divides it. By default one for each of them.
        uneven : {"drop", "pad", "keep"}, optional
            What to do with rows that do not divide into equal lanes: leave them out (the default
            with several ranks), repeat some, or let lanes differ by a row (the default with one).
        rank, world_size : int, optional
            By default those of torch.distributed, else of the environment's ``RANK`` and
            ``WORLD_SIZE``.
        """
        if lanes is not None:
            _positive("lanes", lanes)
        if uneven not in (None, "drop", "pad", "keep"):
            raise ConfigError(f'uneven must be "drop", "pad", "keep" or None, not {uneven!r}')
        if rank is not None or world_size is not None:
            find_rank(rank, world_size)
        return self.then(Shard(lanes, uneven, rank, world_size))

    def read_chunks(self, *, prefetch: int | None = None, threads: int | None = None) -> Pipe:
        """Fetch and decode each row chunk into a block, ahead of the caller.

        Parameters
        ----------
        prefetch : int, optional
            How many row chunks are read ahead; by default as many as fit in 32 MiB. Before
            `shuffle_rows` whole windows are read ahead: as many as hold that many row chunks, by
            default one.
        threads : int, optional
            By default one for each core that this process may use.
        """
        if prefetch is not None:
            _positive("prefetch", prefetch)
        if threads is not None:
            _positive("threads", threads)
        return self.then(ReadChunks(prefetch, threads))

    def shuffle_rows(self, buffer_size: int | None = None) -> Pipe:
        """Permute the rows within windows of consecutive row chunks.

        Parameters
        ----------
        buffer_size : int, optional
            A window has at least this many rows, but the last; by default as many as fit in
            64 MiB.
        """
        if buffer_size is not None:
            _positive("buffer_size", buffer_size)
        return self.then(ShuffleRows(buffer_size))

    def unbatch(self) -> Pipe:
        """Take blocks apart into samples: dicts of one row's values."""
        return self.then(Unbatch())

    def map(self, function: Callable[[dict[str, Any]], Any]) -> Pipe:
        """Apply a function to each item.

        Parameters
        ----------
        function : callable
            Gets a dict and returns one: of columns before `unbatch` and after `batch`, of values
            after `unbatch`, of tensors after `collate`. A generator function may yield any number
            of items for one.
        """
        return self.then(Map(_callable("map", function)))

    def where(self, predicate: Callable[[dict[str, Any]], Any]) -> Pipe:
        """Keep some rows.

        Parameters
        ----------
        predicate : callable
            Gets a dict. Over blocks it returns a boolean array with one entry a row; over samples
            it returns whether to keep the sample.
        """
        return self.then(Where(_callable("where", predicate)))

    def batch(self, batch_size: int, *, drop_last: bool = False) -> Pipe:
        """Make batches of exactly `batch_size` rows; only a lane's last may be shorter.

        Parameters
        ----------
        batch_size : int
            Rows of a batch.
        drop_last : bool
            Leave a lane's short last batch out.
        """
        return self.then(Batch(_positive("batch_size", batch_size), drop_last))

    def collate(self, function: Callable[[dict[str, Any]], Any] | None = None) -> Pipe:
        """Turn blocks and samples into dicts of tensors.

        Parameters
        ----------
        function : callable, optional
            Gets a dict of columns or values and returns the batch; by default `h5stream.collate`.
        """
        return self.then(Collate(None if function is None else _callable("collate", function)))

    def prefetch(self, items: int = 2) -> Pipe:
        """Run everything before this on a thread of its own, ahead of the caller.

        Parameters
        ----------
        items : int
            How many items are kept ready.
        """
        return self.then(Prefetch(_positive("items", items)))

    def __iter__(self) -> Iterator[Any]:
        """Start the next epoch; nothing is opened before the first `next`."""
        epoch = self._begin_epoch()
        state, self._state = self._state, None
        if state is not None and read_epoch(state) != epoch:
            state = None  # saved in an earlier epoch; workers made anew still have it
        if self._gives is Items.FILES:
            return iter(self.catalog.files)
        if self._gives is Items.ROW_CHUNKS:
            return self._row_chunks(epoch)
        return StreamIterator(
            self.stages,
            epoch=epoch,
            stats=self._stats,
            make_reader=self._reader_of_this_process,
            go_on_from=self._go_on_from,
            state=state,
        )

    def _begin_epoch(self) -> int:
        worker = get_worker_info()
        if worker is None:
            return self._epochs.begin()
        return self._epochs.begin_in_worker(worker.id, worker.seed - worker.id)

    def _go_on_from(self, epoch: int) -> None:
        worker = get_worker_info()
        if worker is None:
            self._epochs.go_on_from(epoch)
        else:
            self._epochs.go_on_from(epoch, worker.id, worker.seed - worker.id)

    def _reader_of_this_process(self) -> Reader:
        """Keep one reader, whose buffers serve every epoch; a forked child makes its own."""
        if self._reader is None or self._reader[0] != os.getpid():
            self._reader = (os.getpid(), Reader(self.catalog, self._stats))
        return self._reader[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_reader": None}

    def _row_chunks(self, epoch: int) -> Iterator[RowChunk]:
        for lane in plan_lanes(self.stages, self.catalog, instance_of(self.stages), epoch):
            columns = (lane.pieces.file, lane.pieces.start, lane.pieces.stop)
            yield from map(RowChunk, *(column.tolist() for column in columns))

    def __len__(self) -> int:
        """Count the items that one epoch gives to this rank, over all its workers.

        Raises
        ------
        TypeError
            If only a run can tell, because of `where` or of a `map` before `batch`.
        """
        if self._gives is Items.FILES:
            return len(self.catalog.files)
        instance = instance_of(self.stages)
        if self._gives is Items.ROW_CHUNKS:
            lanes = plan_lanes(self.stages, self.catalog, instance, self._epochs.peek())
            return sum(len(lane.pieces) for lane in lanes)
        total = 0
        for worker in range(instance.num_workers):
            part = Instance(instance.rank, instance.world_size, worker, instance.num_workers)
            lanes = plan_lanes(self.stages, self.catalog, part, self._epochs.peek())
            items = count_items(self.stages, lanes)
            if items is None:
                raise TypeError(
                    "the length is known only after a run: where(), a generator in map(), or a "
                    "map() before batch() decide how many items there are"
                )
            total += items
        return total

    @property
    def catalog(self) -> Catalog:
        """The files with their fields; scans them if that has not been done."""
        source = self.stages[0]
        assert isinstance(source, OpenFiles), "a pipe begins with its files"
        return source.catalog

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration stream this epoch; the following ones count on from it."""
        if not _is_int(epoch) or epoch < 0:
            raise ConfigError(f"epoch must be an integer of 0 or more, not {epoch!r}")
        self._epochs.set(int(epoch))
        self._state = None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next iteration go on where the iterator stood that gave this state.

        Raises
        ------
        StateError
            Here, if it is no state at all; at the first `next`, if it was saved by a stream of
            other files, fields, seed, batch or buffer size: the message names the difference.
        """
        self._epochs.set(read_epoch(state))
        self._state = dict(state)

    def stats(self) -> dict[str, float]:
        """Return what this pipe did in this process so far: bytes, rows and seconds."""
        return self._stats.as_dict()

    def row_chunks_of(self, epoch: int) -> list[RowChunk]:
        """List the row chunks in the order of an epoch."""
        return list(ordered_chunks(self.stages, self.catalog, epoch))


def open_files(sources: Sources, fields: Mapping[str, str] | Sequence[str] | None = None) -> Pipe:
    """Start a pipe on HDF5 files.

    Parameters
    ----------
    sources : path or sequence of paths
        A file, a glob pattern, or a list of them. The matches of a pattern come in natural order.
    fields : mapping of str to str, sequence of str, or None
        Key of the column -> dataset path, or dataset paths that are keys as well. A member of a
        compound type is named in brackets: ``"obs[louvain]"``. None: every dataset that shares
        the leading length of the largest one.

    Returns
    -------
    Pipe
        Yields the files, until more stages are added.

    Examples
    --------
    >>> import h5stream as h5s
    >>> pipe = h5s.open_files(h5s.example_file(), fields={"x": "X", "y": "obs[louvain]"})
    >>> next(iter(pipe)).n_rows
    700
    """
    return Pipe((OpenFiles(sources, fields),))


def _check_chain(stages: Sequence[Stage]) -> Items:
    gives = Items.NOTHING
    for stage in stages:
        if gives not in stage.takes:
            takes = " or ".join(sorted(stage.takes))
            raise ConfigError(
                f"{stage.method}() takes {takes}, but gets {gives} here; the order is "
                "open_files, list_chunks, shuffle_chunks, shard, read_chunks, shuffle_rows, "
                "batch or unbatch, collate"
            )
        gives = stage.gives(gives)
    return gives


Number = TypeVar("Number", bound=int)


def _is_int(value: object) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool)


def _positive(name: str, value: Number) -> Number:
    if not _is_int(value) or value < 1:
        raise ConfigError(f"{name} must be a positive integer, not {value!r}")
    return value


def _callable(method: str, function: Any) -> Any:
    if not callable(function):
        raise ConfigError(f"{method}() needs a function, not {function!r}")
    return function
