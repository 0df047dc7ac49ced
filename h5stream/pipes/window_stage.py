"""Stages that make items of windows of consecutive rows: `bucket`, and those of users.

1. The lane is cut into windows of so many rows, by `batch`; only its last is shorter.
2. A function of the window, and of what is drawn for it, makes items of it.

A place is that of the window, its number, and how many of its items were given: whoever goes on
makes the window again and leaves those out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar

import numpy as np

from h5stream.block import Block, as_block
from h5stream.errors import ConfigError
from h5stream.pipes.batch import Batch
from h5stream.pipes.stage import (
    Count,
    Items,
    Lane,
    LaneIterator,
    LaneStage,
    Runtime,
    Seek,
    State,
    Upstream,
)
from h5stream.pipes.unbatch import Flattened, damaged
from h5stream.plan.order import Purpose, make_generator

__all__ = ["Window", "WindowStage"]


@dataclass(frozen=True, slots=True)
class Window:
    """Which window of an epoch a stage works on: what it draws for it must depend on nothing else.

    Parameters
    ----------
    seed, epoch : int
        Those of the stream.
    lane, number : int
        Which lane, and which of its windows.
    """

    seed: int
    epoch: int
    lane: int
    number: int

    def generator(self, salt: int = 0) -> np.random.Generator:
        """Make a generator of random numbers that belongs to this window.

        Parameters
        ----------
        salt : int
            In [0, 2**32): another generator for each.
        """
        return make_generator(
            seed=self.seed,
            epoch=self.epoch,
            purpose=Purpose.STAGES,
            lane=self.lane,
            window=self.number,
            salt=salt,
        )


class WindowStage(LaneStage):
    """A stage that makes items of each window of consecutive rows.

    Subclass it as a frozen dataclass, and add it to a pipe with `Pipe.then`. `window_rows` and
    `make` must be written. With `n_items` the stream knows its length, and with `item_rows` lanes
    are cut between items and a state says how many items were given, as behind `batch`: then it
    resumes on other numbers of ranks and workers.

    Examples
    --------
    >>> import h5stream as h5s
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Pairs(h5s.WindowStage):
    ...     '''Batches of rows and, beside each, another row of the same window.'''
    ...
    ...     size: int
    ...
    ...     def window_rows(self, row_nbytes):
    ...         return self.size
    ...
    ...     def make(self, rows, window):
    ...         other = window.generator().permutation(rows.n_rows)
    ...         yield {"x": rows["X"], "other": rows["X"][other]}
    ...
    ...     def n_items(self, n_rows):
    ...         return 1
    ...
    ...     def item_rows(self):
    ...         return self.size
    >>> pipe = h5s.open_files(h5s.example_file(), ["X"]).list_chunks().shuffle_chunks(seed=1)
    >>> pairs = pipe.shard().read_chunks().shuffle_rows().then(Pairs(64)).collate()
    >>> len(pairs), next(iter(pairs))["other"].shape
    (11, torch.Size([64, 765]))
    """

    takes: ClassVar[frozenset[Items]] = frozenset({Items.BLOCKS, Items.SAMPLES})

    gives_samples: ClassVar[bool] = False
    """Whether `make` gives single samples; else what it gives are batches of rows."""

    @abstractmethod
    def window_rows(self, row_nbytes: int) -> int:
        """Say how many rows are needed together.

        Parameters
        ----------
        row_nbytes : int
            Mean decoded bytes of a row, for stages that bound their memory.
        """

    @abstractmethod
    def make(self, rows: Block, window: Window) -> Iterable[Any]:
        """Make items of the rows of a window; the same ones each time.

        Parameters
        ----------
        rows : Block
            Columns by name; fewer than `window_rows` in a lane's last window alone.
        window : Window
            Which window it is, and the generator that belongs to it.

        Returns
        -------
        iterable
            Of blocks or dicts of columns, for batches; of dicts, or other trees, for samples.
        """

    def n_items(self, n_rows: int) -> int | None:
        """Say how many items `make` gives for a window of so many rows; None: only a run tells."""
        return None

    def item_rows(self) -> int | None:
        """Say how many rows each item is made of, but a lane's last; None: they differ."""
        return None

    @property
    def method(self) -> str:  # type: ignore[override]
        """Name of the class."""
        return type(self).__name__

    @property
    def keeps_rows(self) -> bool:  # type: ignore[override]
        """Whether each row is in an item, and the plan says in which."""
        return self.item_rows() is not None

    @property
    def whole_rows(self) -> int:
        """Rows of each item; lanes are cut anywhere if they differ."""
        return self.item_rows() or 1

    @property
    def changes_columns(self) -> bool:
        """Yes: what the fields become is its own business."""
        return True

    def gives(self, taken: Items) -> Items:
        """Blocks or samples."""
        return Items.SAMPLES if self.gives_samples else Items.BLOCKS

    def unit(self, unit: Items) -> Items:
        """Blocks or samples."""
        return self.gives(unit)

    def plan_parameters(self) -> dict[str, int | str | None]:
        """Return the options of the stage."""
        options = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return {self.method: options}

    def held_rows(self, lane: Lane) -> int:
        """Rows of a window."""
        return self._window_rows(lane)

    def _window_rows(self, lane: Lane) -> int:
        rows, of_item = self.window_rows(lane.row_nbytes), self.whole_rows
        if rows < 1 or rows % of_item:
            raise ConfigError(
                f"{self.method}: windows of {rows} rows cannot be made of items of {of_item}; "
                "window_rows() must be a multiple of item_rows()"
            )
        return rows

    def count(self, lane: Lane, upstream: Count) -> Count:
        """Those of whole windows, and of the rest."""
        if upstream.rows is None:
            return Count(None, None)
        rows = self._window_rows(lane)
        windows, rest = divmod(upstream.rows, rows)
        whole = self.n_items(rows)
        last = self.n_items(rest) if rest else 0
        items = None if whole is None or last is None else windows * whole + last
        of_item = self.item_rows()
        if of_item is None or items is None:
            return Count(items, upstream.rows if self.keeps_rows else None)
        return Count(items, min(items * of_item, upstream.rows))

    def seek_items(self, count: int, before: Seek) -> State | None:
        """Find the window of an item."""
        rows = self._window_rows(before.lane)
        items = self.n_items(rows)
        if not items:
            return None
        window, given = divmod(count, items)
        found = before.rows(window * rows)
        return None if found is None else (*found[0], found[1], window, given)

    def seek_rows(self, count: int, before: Seek) -> tuple[State, int] | None:
        """Find the item of a row."""
        of_item = self.item_rows()
        if of_item is None:
            return None
        state = self.seek_items(count // of_item, before)
        return None if state is None else (state, count % of_item)

    def iterate(
        self, lane: Lane, runtime: Runtime, upstream: Upstream, state: State
    ) -> LaneIterator:
        """Start, or go on in window ``state[-2]``, ``state[-1]`` items after its beginning."""
        windows = Batch(self._window_rows(lane)).iterate(lane, runtime, upstream, state[:-2])
        number, given = state[-2:] or (0, 0)
        return _Windowed(windows, self, lane, number=number, skip=given)


class _Windowed(Flattened):
    def __init__(
        self, windows: LaneIterator, stage: WindowStage, lane: Lane, *, number: int, skip: int
    ) -> None:
        super().__init__(windows, skip)
        self._stage = stage
        self._lane = lane
        self._number = number

    def open(self, item: Block, skip: int) -> Iterator[Any]:
        lane = self._lane
        window = Window(lane.seed, lane.epoch, lane.number, self._number)
        items = iter(self._stage.make(item, window))
        made = sum(1 for _item in islice(items, skip))
        if made < skip:
            raise damaged(skip, made)
        for each in items:
            made += 1
            yield each if self._stage.gives_samples else as_block(each)
        told = self._stage.n_items(item.n_rows)
        if told is not None and told != made:
            raise ConfigError(
                f"{self._stage.method}: make() gave {made} items for a window of {item.n_rows} "
                f"rows, but n_items({item.n_rows}) says {told}"
            )
        self._number += 1

    def state(self) -> State:
        *origin, given = super().state()
        return (*origin, self._number, given)
