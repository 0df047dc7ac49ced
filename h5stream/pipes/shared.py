"""Memory that a process and the DataLoader workers that it starts share, without locks."""

from __future__ import annotations

import mmap
import time
from collections.abc import Mapping
from multiprocessing.context import get_spawning_popen
from typing import Any

import numpy as np
import torch

__all__ = ["MOST_WORKERS", "SharedWords", "WorkerCounts"]

MOST_WORKERS = 511


class SharedWords:
    """Words of eight bytes: a forked process has the same, and one that is being spawned too.

    Parameters
    ----------
    count : int
        How many, all zero.
    """

    def __init__(self, count: int) -> None:
        self._memory: object = mmap.mmap(-1, 8 * count)
        self._sent: torch.Tensor | None = None
        self.words: np.ndarray = np.frombuffer(self._memory, np.uint64)

    def __getstate__(self) -> torch.Tensor:
        """Hand the same memory to a process that is being started, a copy to anyone else."""
        spawning = get_spawning_popen() is not None
        if spawning and self._sent is not None:
            return self._sent
        copy = torch.from_numpy(self.words.view(np.int64).copy())
        if spawning:
            copy.share_memory_()  # type: ignore[no-untyped-call]
            self.__setstate__(copy)
            self._sent = copy
        return copy

    def __setstate__(self, shared: Any) -> None:
        self._memory, self._sent = shared, None
        self.words = shared.numpy().view(np.uint64)


class WorkerCounts:
    """What DataLoader workers counted, for the process that started them.

    Each worker has a row: what it counted in all, what stood there when its last epoch began, which
    iteration of the DataLoader that was, and when.

    Parameters
    ----------
    names : tuple of str
        Of the counters.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._shared = SharedWords(MOST_WORKERS * (2 * len(names) + 3))
        self._before: dict[int, np.ndarray] = {}

    @property
    def _rows(self) -> np.ndarray:
        return self._shared.words.view(np.float64).reshape(MOST_WORKERS, -1)

    @property
    def _table(self) -> np.ndarray:
        return self._rows[:, : len(self._names)]

    @property
    def _marks(self) -> np.ndarray:
        return self._rows[:, len(self._names) : -3]

    def begin(self, worker: int, counters: Mapping[str, float], iteration: tuple[int, int]) -> None:
        """Note what stood in the counters of a worker, and in its row, before it counts.

        Parameters
        ----------
        worker : int
            Its number.
        counters : mapping
            What it has counted so far.
        iteration : (int, int)
            The epoch, and the seed of the workers that stream it.
        """
        if worker < MOST_WORKERS:
            self._before = {worker: self._table[worker] - self._row(counters)}
            self._marks[worker] = self._table[worker]
            self._rows[worker, -3:] = *iteration, time.monotonic()

    def note(self, worker: int, counters: Mapping[str, float]) -> None:
        """Write down what a worker has counted since it began."""
        if worker in self._before:
            self._table[worker] = self._before[worker] + self._row(counters)

    def _row(self, counters: Mapping[str, float]) -> np.ndarray:
        return np.array([counters[name] for name in self._names])

    def total(self) -> dict[str, float]:
        """Return the sums over all workers."""
        return self._named(self._table)

    @property
    def began_s(self) -> float:
        """When a worker last began an epoch, by the monotonic clock; 0 if none has."""
        return float(self._rows[:, -1].max())

    def of_epoch(self) -> dict[str, float]:
        """Return the sums over the workers that share the last epoch, since it began."""
        iterations = self._rows[:, -3:-1]
        last = self._rows[:, -1].argmax()
        same = (iterations == iterations[last]).all(1)
        return self._named((self._table - self._marks)[same])

    def _named(self, rows: np.ndarray) -> dict[str, float]:
        return dict(zip(self._names, rows.sum(0).tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_before": {}}
