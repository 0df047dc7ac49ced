"""h5torch: its own reader over its own layout, which is HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
from torch.utils.data import DataLoader

REQUIREMENTS = ["h5torch"]


def prepare(source: Path, folder: Path) -> None:
    import h5torch

    with h5py.File(source) as file:
        if "offsets" in file:
            raise NotImplementedError("ragged rows are vlen objects there, unlike the other cases")
        names = list(file)
        made = h5torch.File(str(folder / "data.h5t"), "w")
        made.register(file[names[0]][:], axis="central")
        for name in names[1:]:
            made.register(file[name][:], axis=0, name=name)
        made.close()


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    import h5torch

    dataset = h5torch.Dataset(str(folder / "data.h5t"), sampling=0)
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=workers)
