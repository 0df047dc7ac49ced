"""Hugging Face datasets: Arrow files on disk, map-style, in torch format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from benchmarks.peers.cases import samples_of

REQUIREMENTS = ["datasets"]


def prepare(source: Path, folder: Path) -> None:
    import datasets

    first = next(samples_of(source))
    features: Any = {}
    for name, value in first.items():
        kind = str(value.dtype)
        if name == "tokens":
            features[name] = datasets.List(datasets.Value(kind))
        elif value.ndim == 0:
            features[name] = datasets.Value(kind)
        elif value.ndim == 1:
            features[name] = datasets.List(datasets.Value(kind), length=len(value))
        else:
            features[name] = datasets.Array3D(value.shape, kind)
    made = datasets.Dataset.from_generator(
        samples_of,
        gen_kwargs={"source": source},
        features=datasets.Features(features),
        cache_dir=str(folder / "cache"),
    )
    made.save_to_disk(str(folder / "saved"))


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    import datasets

    dataset = datasets.load_from_disk(str(folder / "saved")).with_format("torch")
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, collate_fn=case.collate
    )
