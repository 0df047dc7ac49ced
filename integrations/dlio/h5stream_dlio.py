"""h5stream as a data loader of DLIO, the benchmark that MLPerf Storage is made of.

    dlio_benchmark workload=... ++workload.reader.data_loader=pytorch \
        ++workload.reader.data_loader_classname=h5stream_dlio.H5StreamLoader

with this folder on PYTHONPATH. It reads the HDF5 files that DLIO generates, as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from dlio_benchmark.common.enumerations import DatasetType
from dlio_benchmark.data_loader.base_data_loader import BaseDataLoader

import h5stream as h5s

FIELD = "records"
"""The dataset that DLIO writes into each file, one sample a row."""


class H5StreamLoader(BaseDataLoader):
    """Give each rank its part of every epoch, shuffled as DLIO asks for it."""

    def __init__(
        self, format_type: Any, dataset_type: Any, epoch: int, data_loader_type: Any = None
    ) -> None:
        super().__init__(format_type, dataset_type, epoch, data_loader_type)
        self.loader: h5s.Loader | None = None

    def read(self) -> None:
        """Open the files; called once for each kind of data."""
        args = self._args
        training = self.dataset_type is DatasetType.TRAIN
        stream = h5s.H5Stream(
            os.path.join(args.data_folder, self.dataset_type.value, "*.hdf5"),  # noqa: PTH118 - may be a URL
            [FIELD],
            batch_size=self.batch_size,
            shuffle=training and str(args.sample_shuffle) != "off",
            seed=args.seed,
            rank=args.my_rank,
            world_size=args.comm_size,
            drop_last=True,
        )
        self.loader = h5s.Loader(stream)
        self.loader.set_epoch(self.epoch_number)

    def next(self) -> Iterator[Any]:
        """Yield the batches of an epoch."""
        assert self.loader is not None, "read() comes first"
        for batch in self.loader:
            yield batch[FIELD]
        self.epoch_number += 1

    def finalize(self) -> None:
        """Do nothing, after each epoch: its threads and files ended with it."""
