"""MosaicML Streaming: shards of MDS, shuffled as it does by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from benchmarks.peers.cases import samples_of

REQUIREMENTS = ["mosaicml-streaming"]


def prepare(source: Path, folder: Path) -> None:
    from streaming import MDSWriter

    first = next(samples_of(source))
    columns = {
        name: "int" if value.ndim == 0 else f"ndarray:{value.dtype}"
        for name, value in first.items()
    }
    with MDSWriter(out=str(folder / "mds"), columns=columns) as writer:
        for sample in samples_of(source):
            writer.write({n: int(v) if v.ndim == 0 else v for n, v in sample.items()})


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    dataset = StreamingDataset(local=str(folder / "mds"), shuffle=True, batch_size=batch_size)
    return DataLoader(dataset, batch_size, num_workers=workers, collate_fn=case.collate)
