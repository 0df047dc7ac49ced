"""What this machine lets the process use: cores and memory."""

from __future__ import annotations

import os

__all__ = ["available_cores", "memory_bytes"]


def available_cores(num_workers: int = 1) -> int:
    """Count the cores that this process may use, shared among `num_workers` workers."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // num_workers)


def memory_bytes() -> int:
    """Return how much memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
