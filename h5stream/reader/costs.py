"""Counts the requests that remote files would get, by planning reads that are never done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from h5stream.fetch import Access, DataFile
from h5stream.fetch.coalesce import join_ranges
from h5stream.fetch.file import Limits
from h5stream.layout import Fingerprint
from h5stream.plan import Pieces
from h5stream.reader.asking import AskingJob
from h5stream.reader.catalog import Catalog
from h5stream.reader.reader import Reader
from h5stream.reader.stats import Stats

__all__ = ["count_requests"]


def count_requests(
    catalog: Catalog, groups: Sequence[Pieces], *, instances: int = 1
) -> tuple[int, int]:
    """Count requests and bytes that serve groups of pieces, each read together.

    Fields that are read once and stay in memory count nothing.

    Parameters
    ----------
    catalog : Catalog
        The files; local ones cost nothing.
    groups : sequence of Pieces
        Windows, or single row chunks.
    instances : int
        How many share an epoch.
    """
    planned = replace(catalog, access=_Planning(catalog.access))
    reader = Reader(planned, Stats(), instances=instances)
    requests = nbytes = 0
    for group in groups:
        for job in reader.window(group).jobs:
            if isinstance(job, AskingJob):
                joined = join_ranges(*job.ranges)
                requests += len(joined)
                nbytes += sum(stop - start for start, stop in joined)
    return requests, nbytes


class _Planning(Access):
    """The way to files of which none is opened."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def data_file(
        self, name: str, fingerprint: Fingerprint, on_retry: Callable[[], None] = lambda: None
    ) -> Any:
        """Return a file that takes requests if it is a remote one."""
        return _Asked() if self._access.is_remote(name) else _NoFile()

    def reopen(self, name: str, fingerprint: Fingerprint) -> None:
        """Open nothing."""


class _NoFile(DataFile):
    """A file that is planned for and never read."""

    @property
    def limits(self) -> Limits:
        """Nothing is read."""
        return Limits(max_gap_bytes=0, max_bytes=0)

    def read_into(self, offset: int, buffers: Sequence[np.ndarray]) -> int:
        """Refuse."""
        raise AssertionError("nothing is read while planning")

    def read_again(self, offset: int, size: int) -> bytes | None:
        """Refuse."""
        raise AssertionError("nothing is read while planning")

    def check_unchanged(self) -> None:
        """Do nothing."""


class _Asked(_NoFile):
    """A file that would be asked."""

    def request(self, offset: np.ndarray, size: np.ndarray) -> Any:
        """Refuse."""
        raise AssertionError("nothing is asked for while planning")
