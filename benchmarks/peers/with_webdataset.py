"""WebDataset: tar files, shuffled by shards and in a buffer of 1,000 samples."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.cases import samples_of

REQUIREMENTS = ["webdataset"]


def prepare(source: Path, folder: Path) -> None:
    import webdataset as wds

    with wds.ShardWriter(str(folder / "%05d.tar"), maxcount=2_500, verbose=0) as writer:
        for number, sample in enumerate(samples_of(source)):
            writer.write({"__key__": f"{number:09}", **{f"{k}.npy": v for k, v in sample.items()}})


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    import webdataset as wds

    shards = sorted(map(str, folder.glob("*.tar")))

    def named(sample: dict[str, Any]) -> dict[str, Any]:
        return {
            name.removesuffix(".npy"): np.load(io.BytesIO(value))
            for name, value in sample.items()
            if name.endswith(".npy")
        }

    dataset = wds.WebDataset(shards, shardshuffle=len(shards)).shuffle(1000).map(named)
    return wds.WebLoader(
        dataset, batch_size=batch_size, num_workers=workers, collate_fn=partial(_collated, case)
    )


def _collated(case: Any, samples: list[dict[str, Any]]) -> Any:
    """Make a batch of samples, without the keys that map() puts back."""
    own = [{k: v for k, v in sample.items() if not k.startswith("__")} for sample in samples]
    return case.collate(own)
