"""LitData: its chunks of 64 MB, streamed shuffled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.peers.cases import samples_of

REQUIREMENTS = ["litdata"]


def prepare(source: Path, folder: Path) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for number, sample in enumerate(samples_of(source)):
        writer[number] = dict(sample.items())
    writer.done()
    writer.merge()


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    os.environ.setdefault("LIT_DISABLE_VERSION_CHECK", "1")
    from litdata import StreamingDataLoader, StreamingDataset

    dataset = StreamingDataset(str(folder), shuffle=True, drop_last=False)
    return StreamingDataLoader(
        dataset, batch_size=batch_size, num_workers=workers, collate_fn=case.collate
    )
