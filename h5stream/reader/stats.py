"""What a stream did so far: counters that many threads add to."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["COUNTERS", "Stats", "padding_waste"]


@dataclass
class Stats:
    """Counters of one stream; those of DataLoader workers are added where they are asked for.

    Parameters
    ----------
    rows : int
        Rows read, decoded and passed on.
    batches : int
        Batches (or samples, without a batch size) handed to the caller.
    fetched_bytes, decoded_bytes : int
        Bytes read from files, and bytes after decoding.
    requests, retries : int
        Ranges that remote files were asked for, and those asked for again because they failed.
    cached_bytes : int
        Bytes of remote files that were found on disk.
    fetch_s, decode_s, gather_s : float
        Seconds that all threads together spent reading, decoding, and copying rows to their
        places.
    wait_s, work_s : float
        Seconds that the loop waited for items, the first of which took `first_s`, and that it
        worked between them. Of workers of a plain DataLoader, whose loop is not seen: that they
        were busy with items, and that nobody asked them for one.
    first_s : float
        Seconds that the loop waited for first items of epochs.
    make_s : float
        Seconds that the stages after reading took on the threads that ask for items.
    process_s, thread_s : float
        Seconds that iterators lived in all processes, and that times their threads: what
        `make_s`, and `fetch_s`, `decode_s` and `gather_s` together, are parts of.
    batch_elements, padding_elements : int
        Elements of padded columns in batches, padding included, and how many of them are padding.
        `as_dict` adds their ratio, ``padding_waste``.
    """

    rows: int = 0
    batches: int = 0
    fetched_bytes: int = 0
    decoded_bytes: int = 0
    requests: int = 0
    retries: int = 0
    cached_bytes: int = 0
    fetch_s: float = 0.0
    decode_s: float = 0.0
    gather_s: float = 0.0
    wait_s: float = 0.0
    work_s: float = 0.0
    first_s: float = 0.0
    make_s: float = 0.0
    process_s: float = 0.0
    thread_s: float = 0.0
    batch_elements: int = 0
    padding_elements: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._before: dict[str, float] = self._counters()
        self.began_s = 0.0
        self.has_workers = False

    def begin_epoch(self, *, has_workers: bool = False) -> None:
        """Note what stands in the counters as an epoch begins.

        Parameters
        ----------
        has_workers : bool
            This process only takes what workers bring.
        """
        with self._lock:
            self._before = self._counters()
            self.began_s, self.has_workers = time.monotonic(), has_workers

    def of_epoch(self) -> dict[str, float]:
        """Return what was counted since the last epoch began."""
        with self._lock:
            now = self._counters()
            return {name: now[name] - self._before[name] for name in now}

    def add(self, **amounts: float) -> None:
        """Add to several counters at once."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def as_dict(self) -> dict[str, float]:
        """Return the counters by name."""
        with self._lock:
            counters = self._counters()
        return {**counters, "padding_waste": padding_waste(counters)}

    def _counters(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in COUNTERS}

    def __getstate__(self) -> dict[str, Any]:
        return self.as_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.__post_init__()


COUNTERS = tuple(field.name for field in fields(Stats))
"""Names of all counters."""


def padding_waste(counters: Mapping[str, float]) -> float:
    """Return which part of padded columns is padding."""
    return counters["padding_elements"] / max(1, counters["batch_elements"])
