"""The loader for DLIO, against its contract: what DLIO 2.0.0 calls, and in which order.

The real one needs MPI and TensorFlow; `integrations/dlio/README.md` says how it is run.
"""

from __future__ import annotations

import importlib.util
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.streams import write_columns

MODULE = Path(__file__).parents[2] / "integrations/dlio/h5stream_dlio.py"


class DatasetType(Enum):
    TRAIN = "train"
    VALID = "valid"


class BaseDataLoader:
    """Assigns what that of DLIO does."""

    args: Any = None

    def __init__(self, format_type: Any, dataset_type: Any, epoch: int, loader_type: Any) -> None:
        self._args = self.args
        self.dataset_type = dataset_type
        self.epoch_number = epoch
        training = dataset_type is DatasetType.TRAIN
        self.batch_size = self._args.batch_size if training else self._args.batch_size_eval


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    modules = {
        "dlio_benchmark.common.enumerations": {"DatasetType": DatasetType},
        "dlio_benchmark.data_loader.base_data_loader": {"BaseDataLoader": BaseDataLoader},
    }
    for name in ("dlio_benchmark", "dlio_benchmark.common", "dlio_benchmark.data_loader"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, values in modules.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("h5stream_dlio", MODULE)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def write_files(folder: Path, rows: int) -> None:
    folder.mkdir()
    for number in range(2):
        records = np.arange(rows, dtype=np.uint8) + number * rows
        columns = {"records": records.reshape(-1, 1, 1).repeat(2, 1)}
        write_columns(folder / f"img_{number}_of_2.hdf5", columns)


@pytest.mark.parametrize("shuffle", ["off", "seed", "random"])
def test_ranks_share_each_epoch(tmp_path: Path, plugin: Any, shuffle: str) -> None:
    write_files(tmp_path / "train", 20)
    write_files(tmp_path / "valid", 4)
    orders = []
    for rank in range(2):
        BaseDataLoader.args = SimpleNamespace(
            data_folder=str(tmp_path),
            sample_shuffle=shuffle,
            seed=3,
            my_rank=rank,
            comm_size=2,
            batch_size=4,
            batch_size_eval=2,
        )
        train = plugin.H5StreamLoader("hdf5", DatasetType.TRAIN, 1)
        valid = plugin.H5StreamLoader("hdf5", DatasetType.VALID, 1, "pytorch")
        train.read()
        valid.read()
        epochs = []
        for _epoch in range(2):
            batches = list(train.next())
            train.finalize()
            assert [tuple(batch.shape) for batch in batches] == [(4, 2, 1)] * 5
            epochs.append([int(value) for batch in batches for value in batch[:, 0, 0]])
        assert len(list(valid.next())) == 2
        valid.finalize()
        orders.append(epochs)
    for first, second in zip(*orders, strict=True):
        assert sorted(first + second) == list(range(40))
    assert (orders[0][0] == orders[0][1]) == (shuffle == "off")
