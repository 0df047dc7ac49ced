"""h5py, sample by sample: the usual map-style Dataset in a shuffling DataLoader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
from torch.utils.data import DataLoader, Dataset

REQUIREMENTS: list[str] = []


def prepare(source: Path, folder: Path) -> None:
    """Nothing is converted."""


class Rows(Dataset[Any]):
    """Opens the file in each worker; offsets are kept in memory."""

    def __init__(self, source: Path) -> None:
        self.source, self.file = source, None
        with h5py.File(source) as file:
            self.offsets = file["offsets"][:] if "offsets" in file else None
            self.names = ["values"] if self.offsets is not None else list(file)
            self.n_rows = (
                len(self.offsets) - 1 if self.offsets is not None else len(file[next(iter(file))])
            )

    def __len__(self) -> int:
        return self.n_rows

    def __getitem__(self, row: int) -> Any:
        if self.file is None:
            self.file = h5py.File(self.source)
        if self.offsets is not None:
            return {"tokens": self.file["values"][self.offsets[row] : self.offsets[row + 1]]}
        return {name: self.file[name][row] for name in self.names}


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    return DataLoader(
        Rows(source), batch_size, shuffle=True, num_workers=workers, collate_fn=case.collate
    )
