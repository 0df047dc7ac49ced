"""What a stream did so far: counters that many threads add to."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Stats"]


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
    wait_s : float
        Seconds that the caller waited for rows; in workers of a plain DataLoader, what they waited.
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
    batch_elements: int = 0
    padding_elements: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def add(self, **amounts: float) -> None:
        """Add to several counters at once."""
        with self._lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)

    def as_dict(self) -> dict[str, float]:
        """Return the counters by name."""
        with self._lock:
            counters = asdict(self)
        waste = self.padding_elements / max(1, self.batch_elements)
        return {**counters, "padding_waste": waste}

    def __getstate__(self) -> dict[str, Any]:
        return self.as_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        for field in fields(self):
            setattr(self, field.name, state[field.name])
        self.__post_init__()
