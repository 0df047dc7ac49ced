"""A chain of stages, as an iterable dataset: its epochs, its length, and where it stands.

A chain is a value but for three things of its own: the count of epochs, the counters of
`stats`, and the place of the last iterator, which `state_dict` tells.
"""

from __future__ import annotations

import contextlib
import logging
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.context import get_spawning_popen
from typing import Any

from torch.utils.data import get_worker_info

from h5stream.arguments import an_option, is_integer
from h5stream.errors import ConfigError, H5StreamError, StateError
from h5stream.fields import ColumnType, Rows
from h5stream.pipes.before_fork import ScansFirst
from h5stream.pipes.callers import refuse_callers
from h5stream.pipes.clock import Clock
from h5stream.pipes.early import Series
from h5stream.pipes.epoch import (
    catalogs_of,
    count_of_rank,
    instance_of,
    ordered_chunks,
    pin_cut,
    pin_rank,
    plan_lanes,
    source_of,
    unit_of,
    warn_of_dropped,
)
from h5stream.pipes.epochs import EpochCount
from h5stream.pipes.fuse import lane_stages
from h5stream.pipes.instance import Instance
from h5stream.pipes.running import StreamIterator
from h5stream.pipes.shared import WorkerCounts
from h5stream.pipes.stage import Items, Stage
from h5stream.pipes.start import SavedState, Start
from h5stream.pipes.state import OnChanged, pack_state, read_epoch
from h5stream.pipes.verdict import Stored, StreamStats, stream_stats
from h5stream.plan import Cut, RowChunk
from h5stream.reader import COUNTERS, Catalog, Reader, Stats

__all__ = ["Chain", "FieldInfo"]

_LOG = logging.getLogger("h5stream")


class Chain(ScansFirst):
    """A chain of stages that can be iterated over, saved and resumed.

    Parameters
    ----------
    stages : sequence of Stage
        The first opens files; each accepts what the one before gives.

    Raises
    ------
    ConfigError
        If two neighbours do not fit.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = tuple(stages)
        self._gives = _check_chain(self.stages)
        self._epochs = EpochCount()
        self._stats = Stats()
        self._worker_counts = WorkerCounts(COUNTERS)
        self._loaded: tuple[int, SavedState] | None = None
        self._last: _LastIterator | None = None
        self._readers: tuple[int, tuple[Reader, ...]] | None = None
        self._series: Series | None = None

    def __iter__(self) -> Iterator[Any]:
        """Start the next epoch; nothing is opened before the first `next`."""
        refuse_callers(gives_batches=unit_of(self.stages) is Items.BLOCKS)
        if self._gives is Items.FILES:
            return iter(self.catalog.files)
        if self._gives is Items.ROW_CHUNKS:
            return self._row_chunks(self.begin_epoch())
        epoch, start = self._next_start()
        last = self._last = _LastIterator()
        running = StreamIterator(
            self.stages,
            epoch=epoch,
            stats=self._stats,
            make_readers=self._readers_of_this_process,
            start=start,
            go_on_from=self._go_on_from,
            when_left=partial(self._note_left, last),
            when_given=self._count_for_parent(epoch),
            when_ended=self._ended_here(),
            series=self._series_of_this_process(),
        )
        last.running = weakref.ref(running)
        return running

    def run(
        self,
        epoch: int,
        *,
        cut: Cut,
        instance: Instance,
        start: Start | None = None,
        gaps: bool = False,
    ) -> StreamIterator:
        """Run an epoch, or the rest of it, as a given instance; does not count as an iteration.

        Parameters
        ----------
        epoch : int
            Which epoch.
        cut : Cut
            How it is cut into lanes.
        instance : Instance
            Whose lanes to stream.
        start : Start, optional
            Where to start.
        gaps : bool
            Mark the turns of lanes that ended before others.
        """
        if instance.number == 0:
            warn_of_dropped(self.stages, self.catalog, cut)
        return StreamIterator(
            pin_cut(self.stages, cut),
            epoch=epoch,
            stats=self._stats,
            make_readers=self._readers_of_this_process,
            start=start,
            instance=instance,
            gaps=gaps,
            when_given=self._count_for_parent(epoch, "wait_s", "work_s", "first_s"),
            when_ended=self._ended_here(),
            series=self._series_of_this_process(),
        )

    def _count_for_parent(self, epoch: int, *left_out: str) -> Callable[[], None] | None:
        """Return what tells the parent what this process has counted, if it is a worker."""
        worker = get_worker_info()
        if worker is None:
            return None
        zero = dict.fromkeys(left_out, 0.0)

        def counters() -> dict[str, float]:
            return self._stats.as_dict() | zero

        iteration = epoch, worker.seed - worker.id
        self._worker_counts.begin(worker.id, counters(), iteration)
        return lambda: self._worker_counts.note(worker.id, counters())

    def begin_clock(self) -> Clock:
        """Return the clock of an epoch that workers stream, which runs where they do not."""
        self._stats.begin_epoch(has_workers=True)
        return Clock(self._stats, of_parent=True)

    @property
    def gives(self) -> Items:
        """The kind of its items."""
        return self._gives

    @property
    def next_epoch(self) -> int:
        """The epoch that the next iteration streams."""
        return self._epochs.peek()

    def begin_epoch(self) -> int:
        """Count an iteration, and return the epoch that it streams."""
        worker = get_worker_info()
        if worker is None:
            return self._epochs.begin()
        return self._epochs.begin_in_worker(worker.id, worker.seed - worker.id)

    def _next_start(self) -> tuple[int, Start | None]:
        """Return the epoch to stream, and where to start in it."""
        (process, saved), self._loaded = self._loaded or (0, None), None
        if saved is not None and process == os.getpid() and not self._workers_came_last():
            epoch = read_epoch(saved.state)
            self._go_on_from(epoch)
            return epoch, saved
        epoch = self.begin_epoch()
        if saved is not None and read_epoch(saved.state) == epoch:  # for workers, by the parent
            return epoch, saved
        return epoch, None

    def _note_left(self, last: _LastIterator, running: StreamIterator) -> None:
        """Remember where an iterator was when it went; a look at the first item is no epoch."""
        last.note_left(running)
        looked = running.was_a_look and last is self._last and get_worker_info() is None
        if looked and self.next_epoch == running.epoch + 1:
            self._epochs.set(running.epoch)

    def _go_on_from(self, epoch: int) -> None:
        worker = get_worker_info()
        if worker is None:
            self._epochs.go_on_from(epoch)
        else:
            self._epochs.go_on_from(epoch, worker.id, worker.seed - worker.id)

    def _workers_came_last(self) -> bool:
        """Say whether DataLoader workers have begun an epoch since their parent, this process."""
        return get_worker_info() is None and self._epochs.begun_by_workers()

    def _readers_of_this_process(self) -> tuple[Reader, ...]:
        """Keep the readers, whose buffers serve every epoch; a forked child makes its own."""
        if self._readers is None or self._readers[0] != os.getpid():
            catalogs = catalogs_of(self.stages)
            instances = instance_of(self.stages).count
            readers = (Reader(each, self._stats, instances=instances) for each in catalogs)
            self._readers = (os.getpid(), tuple(readers))
        return self._readers[1]

    def _series_of_this_process(self) -> Series:
        if self._series is None or self._series.process != os.getpid():
            self._series = Series(lane_stages(self.stages))
        return self._series

    def _drop_early(self, unless: int | None = None) -> None:
        """Drop what was read of an epoch before it began, unless it is of this one."""
        if self._series is not None:
            self._series.forget(unless)

    def scan_first(self) -> None:
        """Scan the files, so that no worker has to; what is wrong with them, workers say."""
        with contextlib.suppress(H5StreamError):
            catalogs_of(self.stages)

    def __getstate__(self) -> dict[str, Any]:
        here: dict[str, Any] = {"_readers": None, "_last": None, "_series": None}
        if get_spawning_popen() is not None:  # a worker that is spawned knows no process group
            self.scan_first()
            here["stages"] = pin_rank(self.stages)
        return {**self.__dict__, **here}

    def _row_chunks(self, epoch: int) -> Iterator[RowChunk]:
        for lane in plan_lanes(self.stages, self.catalog, instance_of(self.stages), epoch):
            pieces = lane.rows(lane.pieces)
            columns = (pieces.file, pieces.start, pieces.stop)
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
            lanes = plan_lanes(self.stages, self.catalog, instance, self.next_epoch)
            return sum(len(lane.pieces) for lane in lanes)
        return count_of_rank(self.stages, self.catalog, instance, self.next_epoch)

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """What the fields of the files are: by name, the kind of column and its categories.

        Examples
        --------
        >>> import h5stream as h5s
        >>> stream = h5s.H5Stream(h5s.example_file(), {"x": "X", "phase": "obs/phase/codes"})
        >>> print(stream.fields["x"], stream.fields["phase"].categories)
        float32 765 ['G1', 'G2M', 'S']
        """
        catalog = self.catalog
        categories = catalog.categories
        return {
            name: FieldInfo(column, categories.get(name))
            for name, column in catalog.columns.items()
        }

    @property
    def categories(self) -> dict[str, list[Any]]:
        """What the codes of categories stand for: by field, a list in the order of the codes.

        Over several files it is the union of their categories, in the order in which they appear,
        and codes count that; -1 is for a missing one.

        Examples
        --------
        >>> import h5stream as h5s
        >>> stream = h5s.H5Stream(h5s.example_file(), {"phase": "obs/phase/codes"})
        >>> stream.categories
        {'phase': ['G1', 'G2M', 'S']}
        """
        return self.catalog.categories

    def rows(self) -> Rows:
        """Say which file and group each row comes from, in the order of row numbers.

        It is the order in which `subset` counts, and values that are `Given` for rows.

        Returns
        -------
        Rows
            Names of the files; and for each row the number of its file, the name of its group if
            rows come from groups, and its number in the file.

        Examples
        --------
        >>> import h5stream as h5s
        >>> stream = h5s.H5Stream(h5s.example_file("climate"), fields=["noy"])
        >>> rows = stream.rows()
        >>> len(rows.files), rows.file.tolist()[:3], rows.row.tolist()[:3], rows.group
        (1, [0, 0, 0], [0, 1, 2], None)
        """
        return self.catalog.rows()

    @property
    def catalog(self) -> Catalog:
        """The files with their fields; scans them if that has not been done."""
        return source_of(self.stages).catalog

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration stream this epoch; the following ones count on from it."""
        if not is_integer(epoch) or epoch < 0:
            raise ConfigError(f"epoch must be an integer of 0 or more, not {epoch!r}")
        self._epochs.set(int(epoch))
        self._loaded = self._last = None
        self._drop_early(unless=int(epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return where the last iteration stands: a few integers for each lane, and the plan.

        After the end of an epoch, and before the first, it is the start of the next.

        Raises
        ------
        StateError
            If DataLoader workers iterate: only they know. Use `h5stream.Loader`, or the
            StatefulDataLoader of torchdata.
        """
        if self._workers_came_last():
            raise StateError(
                "DataLoader workers stream this pipe, and only they know where they stand; use "
                "h5stream.Loader, whose state_dict() counts for them"
            )
        if self._loaded is not None:
            return dict(self._loaded[1].state)
        if self._last is not None:
            return self._last.place()
        return pack_state(self.next_epoch, 0, {}, {})

    def load_state_dict(self, state: Mapping[str, Any], *, on_changed: OnChanged = "error") -> None:
        """Make the next iteration go on where the iterator stood that gave this state.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned.
        on_changed : {"error", "warn"}
            What to do at the first `next` if files have other content than they had; the time of
            their modification, and where they lie, do not count.

        Raises
        ------
        StateError
            Here, if it is no state at all; at the first `next`, if it was saved by a stream of
            other files, fields, seed, batch or buffer size: the message names the difference.
        """
        epoch = read_epoch(state)
        if get_worker_info() is None:
            self._epochs.set(epoch)
        saved = SavedState(dict(state), an_option("on_changed", on_changed, OnChanged))
        self._loaded, self._last = (os.getpid(), saved), None
        self._drop_early()

    def stats(self) -> StreamStats:
        """Return what this pipe and its DataLoader workers did so far: bytes, rows and seconds.

        It is a dict of counters, with those of the last epoch in `epoch`, and says in `verdict`
        what the speed depended on. ``opening_requests`` are those that opened remote files, in
        this process.
        """
        opening = source_of(self.stages).opening_requests
        return stream_stats(self.counters(), self._of_last_epoch(), self._stored, opening)

    def counters(self) -> dict[str, float]:
        """Return the counters of `stats` alone, which takes microseconds."""
        counters = self._stats.as_dict()
        if self._worker_counts.began_s:
            for name, amount in self._worker_counts.total().items():
                counters[name] += amount
        return counters

    @property
    def done(self) -> int | None:
        """Items of the epoch before those that the next iteration gives: 0 but after a resume.

        None where only a run can tell.
        """
        if self._loaded is None:
            return 0
        saved = self._loaded[1]
        instance = instance_of(self.stages)
        lanes = plan_lanes(self.stages, self.catalog, instance, read_epoch(saved.state))
        return saved.items_done(lanes, lane_stages(self.stages))

    def log_end(self, epoch: int) -> None:
        """Tell the log that an epoch has ended, and what bounded it."""
        if _LOG.isEnabledFor(logging.INFO):
            stats = self.stats()
            _LOG.info("epoch %d ended: %d rows; %s", epoch, stats.epoch["rows"], stats.verdict)

    def _ended_here(self) -> Callable[[int], None] | None:
        return self.log_end if get_worker_info() is None else None

    def _of_last_epoch(self) -> dict[str, float]:
        """Add up what this process and workers counted, if both had a part in the last epoch."""
        here, workers = self._stats, self._worker_counts
        if workers.began_s < here.began_s:
            return here.of_epoch()
        found = workers.of_epoch()
        if here.has_workers:
            for name, amount in here.of_epoch().items():
                found[name] += amount
        return found

    def _stored(self) -> Stored:
        """Say how what was streamed is stored."""
        catalogs = catalogs_of(self.stages)
        found = [
            (catalog.routes[layout.key], layout)
            for catalog in catalogs
            for field in catalog.files[0].fields.values()
            for layout in field.layouts[:1]
        ]
        return Stored(
            filters=frozenset(spec.id for _route, layout in found for spec in layout.filters),
            direct=all(route.direct for route, _layout in found),
            row_bytes=max((catalog.row_nbytes for catalog in catalogs), default=0),
        )

    def row_chunks_of(self, epoch: int) -> list[RowChunk]:
        """List the row chunks in the order of an epoch."""
        return list(ordered_chunks(self.stages, self.catalog, epoch))


@dataclass(frozen=True)
class FieldInfo:
    """What a field is, over all files.

    Parameters
    ----------
    column : ColumnType
        Its elements and the shape of a row.
    categories : list or None
        What its codes stand for, if they stand for categories.
    """

    column: ColumnType
    categories: list[Any] | None

    def __str__(self) -> str:
        return str(self.column)


class _LastIterator:
    """Where the last iterator of a chain stands, also once nobody holds it any more."""

    def __init__(self) -> None:
        self.running: weakref.ref[StreamIterator] | None = None
        self._left: dict[str, Any] = {}

    def note_left(self, running: StreamIterator) -> None:
        """Remember where the iterator was when it went."""
        self._left = _place_of(running)

    def place(self) -> dict[str, Any]:
        """Return its state; that of the next epoch after the end of one."""
        running = None if self.running is None else self.running()
        return dict(self._left) if running is None else _place_of(running)


def _place_of(running: StreamIterator) -> dict[str, Any]:
    if running.exhausted:
        return pack_state(running.epoch + 1, 0, {}, {})
    return running.state_dict()


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
