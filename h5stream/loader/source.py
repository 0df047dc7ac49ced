"""What a loader's workers iterate over: the stream, from a place and with a part they are told."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils.pin_memory import pin_memory

from h5stream.errors import H5StreamError
from h5stream.pipes import Instance, StreamIterator
from h5stream.pipes.before_fork import ScansFirst
from h5stream.pipes.chain import Chain
from h5stream.pipes.running import GAP
from h5stream.pipes.stage import State
from h5stream.pipes.start import AfterBatches, AfterLane, Start
from h5stream.plan import Cut

__all__ = ["Failure", "Placed", "Source"]


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of ours, sent as an item: so it arrives whole, and at once."""

    error: H5StreamError


@dataclass(frozen=True, slots=True)
class Placed:
    """An item with the lane it came from, and that lane's place after it.

    Parameters
    ----------
    lane : int
        Number of the lane.
    state : tuple of int
        Its place.
    item : object
        What it gave.
    is_gap : bool
        Whether it gave nothing, because it has ended.
    """

    lane: int
    state: State
    item: Any
    is_gap: bool

    def pin_memory(self, device: Any = None) -> Placed:
        """Pin the tensors of the item."""
        pinned = pin_memory(self.item, device)  # type: ignore[no-untyped-call]
        return Placed(self.lane, self.state, pinned, self.is_gap)


class Source(ScansFirst):
    """The dataset of a loader.

    Parameters
    ----------
    stream : Chain
        What it streams.
    """

    def __init__(self, stream: Chain) -> None:
        self.stream = stream
        self._epoch = 0
        self._cut = Cut(1, 1, "keep")
        self._rank, self._world_size = 0, 1
        self._start: Start | None = None
        self._carries_places = False

    def begin(
        self,
        epoch: int,
        *,
        cut: Cut,
        rank: int,
        world_size: int,
        start: Start | None,
        carries_places: bool,
    ) -> None:
        """Say what the next iterations stream; those after it count on from `epoch`."""
        self._epoch, self._cut, self._start = epoch, cut, start
        self._rank, self._world_size = rank, world_size
        self._carries_places = carries_places

    def scan_first(self) -> None:
        """Let the stream do it."""
        self.stream.scan_first()

    def __iter__(self) -> Iterator[Any]:
        """Stream this worker's part."""
        epoch, start = self._epoch, self._start
        self._epoch, self._start = epoch + 1, None
        items = self.stream.run(
            epoch,
            cut=self._cut,
            instance=self._part(start),
            start=start,
            gaps=self._carries_places,
        )
        return _Sent(items, self._carries_places)

    def _part(self, start: Start | None) -> Instance:
        """Turn the instances, so that the first worker of the first rank has the next batch."""
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        count = self._world_size * workers
        number = (self._rank + self._world_size * worker + self._turned_by(start)) % count
        rank, worker = number % self._world_size, number // self._world_size
        return Instance(rank, self._world_size, worker, workers)

    def _turned_by(self, start: Start | None) -> int:
        if isinstance(start, AfterBatches):
            return start.batches
        if isinstance(start, AfterLane):  # ranks keep their lanes
            return -(-(start.last + 1 - self._rank) // self._world_size) * self._world_size
        return 0


class _Sent(Iterator[Any]):
    def __init__(self, items: StreamIterator, carries_places: bool) -> None:
        self._items = items
        self._carries_places = carries_places

    def __next__(self) -> Any:
        try:
            item = next(self._items)
        except H5StreamError as error:
            info = get_worker_info()
            if info is not None:
                error.add_note(f"in DataLoader worker {info.id}:\n{traceback.format_exc()}")
            return Failure(error)
        if not self._carries_places:
            return item
        lane, state = self._items.last_turn()
        is_gap = item is GAP
        return Placed(lane, state, None if is_gap else item, is_gap)
