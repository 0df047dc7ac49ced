"""Scans the files of a stream before DataLoader workers are forked, so that none of them has to.

A `DataLoader` forks its workers without a word to its dataset, and each would scan for itself, in
every epoch. So before this process forks, it is looked for a DataLoader that is about to start
iterating; what it iterates over is scanned here, once. Workers that are spawned get what was
scanned when the stream is pickled for them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor  # noqa: F401 - locks at forks only after this
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from h5stream.system import before_fork

__all__ = ["ScansFirst"]


class ScansFirst(IterableDataset[Any]):
    """A dataset that is told before workers are forked that iterate over it."""

    def scan_first(self) -> None:
        """Find out about files whatever does not depend on the worker."""
        raise NotImplementedError


def _scan_first() -> None:
    for loader in _starting_loaders(sys._getframe(1)):
        dataset = loader.dataset
        if isinstance(dataset, ScansFirst):
            dataset.scan_first()


def _starting_loaders(frame: FrameType | None) -> Iterator[DataLoader[Any]]:
    """Yield the DataLoaders that run `__iter__` in this thread."""
    while frame is not None:
        if frame.f_code.co_name == "__iter__":
            caller = frame.f_locals.get("self")
            if isinstance(caller, DataLoader):
                yield caller
        frame = frame.f_back


before_fork(_scan_first)
