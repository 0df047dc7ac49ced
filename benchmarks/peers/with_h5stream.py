"""h5stream: the file as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5stream as h5s

REQUIREMENTS: list[str] = []


def prepare(source: Path, folder: Path) -> None:
    """Nothing is converted."""


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    fields: Any = {"tokens": h5s.Ragged("values", offsets="offsets")}
    stream = h5s.H5Stream(
        source, fields if case.name == "tokens" else None, batch_size=batch_size, shuffle=True
    )
    return h5s.Loader(stream, num_workers=workers)
