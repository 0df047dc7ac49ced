"""What a loader has for a sampler: training libraries tell samplers which epoch begins."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from itertools import repeat

from torch.utils.data import Sampler

__all__ = ["EpochSampler"]


class EpochSampler(Sampler[None]):
    """Samples nothing, since a stream has its own order, and passes epochs on.

    Parameters
    ----------
    enter_epoch : callable
        Method that is told the epoch that begins. It is held weakly, because iterators hold their
        sampler: a loader that waited for garbage collection would find it in a forked worker.
    """

    def __init__(self, enter_epoch: Callable[[int], None]) -> None:
        self._enter_epoch = weakref.WeakMethod(enter_epoch)

    def __iter__(self) -> Iterator[None]:
        return repeat(None)

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch begins; one that has been begun or loaded goes on where it stands."""
        enter_epoch = self._enter_epoch()
        if enter_epoch is not None:
            enter_epoch(epoch)
