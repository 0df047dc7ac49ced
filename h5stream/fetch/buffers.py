"""Buffers that are used again once nobody looks at them any more.

A buffer goes back to the pool when the last array that views it is gone, whoever held it. So a
caller may keep any part of a block for as long as it likes, and still no window is allocated
twice: freshly allocated pages cost ten times a warm pass.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from typing import Any

import numpy as np

__all__ = ["BufferPool"]

_MARGIN = 8
"""A new buffer is larger by an eighth, so that windows that are a little larger fit as well; what
nothing is written to takes no memory."""

_PAGE = 4096


class BufferPool:
    """Hands out arrays in reused memory.

    Parameters
    ----------
    most_free : int
        How many buffers are kept for later.
    most_free_bytes : int, optional
        How many bytes they may have together; by default as many as they have.
    """

    def __init__(self, most_free: int = 16, most_free_bytes: int | None = None) -> None:
        self._free: deque[np.ndarray] = deque(maxlen=most_free)
        self._most_free_bytes = most_free_bytes

    @property
    def free_bytes(self) -> int:
        """What is kept for later."""
        return sum(memory.nbytes for memory in list(self._free))

    def forget(self) -> None:
        """Keep nothing of what was handed out so far, whether it is back already or not."""
        self._free = deque(maxlen=self._free.maxlen)

    def array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an array with undefined contents."""
        nbytes = math.prod(shape) * dtype.itemsize
        memory = self._find(nbytes)
        # The array's base is a memoryview, so views of it keep `owner` alive, not `memory`.
        owner = np.frombuffer(memory.data, np.uint8, count=nbytes)
        weakref.finalize(owner, self._keep, self._free, memory).atexit = False
        return owner.view(dtype).reshape(shape) if nbytes else np.empty(shape, dtype)

    def _keep(self, free: deque[np.ndarray], memory: np.ndarray) -> None:
        """Take a buffer back, into the list of the time when it was handed out."""
        most = self._most_free_bytes
        if free is self._free and (most is None or self.free_bytes + memory.nbytes <= most):
            free.append(memory)

    def _find(self, nbytes: int) -> np.ndarray:
        capacity = nbytes + nbytes // _MARGIN + _PAGE
        for _ in range(len(self._free)):
            try:
                memory = self._free.popleft()
            except IndexError:
                break
            if nbytes <= memory.nbytes <= 2 * capacity:
                return memory
            self._free.append(memory)
        return np.empty(capacity, np.uint8)
