from __future__ import annotations

from collections.abc import Iterator

import h5py
import pytest


@pytest.fixture
def file() -> Iterator[h5py.File]:
    """Open a file in memory."""
    with h5py.File("memory.h5", "w", driver="core", backing_store=False) as file:
        yield file
