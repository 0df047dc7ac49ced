"""Lance: rows of fixed-size lists, taken by random row numbers a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.peers.cases import samples_of

REQUIREMENTS = ["pylance"]


def _column(rows: list[np.ndarray]) -> pa.Array:
    if rows[0].ndim == 0:
        return pa.array(np.stack(rows))
    if len({row.shape for row in rows}) > 1 or rows[0].dtype == np.int64:
        return pa.array([row.tolist() for row in rows], pa.list_(pa.int64()))
    flat = pa.array(np.stack(rows).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, rows[0].size)


def _tables(source: Path) -> Iterator[pa.RecordBatch]:
    block: list[Any] = []
    for sample in samples_of(source):
        block.append(sample)
        if len(block) == 1000:
            yield _batch(block)
            block = []
    if block:
        yield _batch(block)


def _batch(block: list[Any]) -> pa.RecordBatch:
    return pa.record_batch({n: _column([np.asarray(s[n]) for s in block]) for n in block[0]})


def prepare(source: Path, folder: Path) -> None:
    import lance

    tables = _tables(source)
    first = next(tables)
    lance.write_dataset(first, str(folder / "data.lance"))
    for table in tables:
        lance.write_dataset(table, str(folder / "data.lance"), mode="append")


class Batches(Dataset[Any]):
    """Takes whole batches, as its documentation advises for random access."""

    def __init__(self, path: str, case: Any) -> None:
        import lance

        self.path, self.case, self.data = path, case, None
        self.n_rows = lance.dataset(path).count_rows()

    def __getitems__(self, rows: list[int]) -> Any:
        import lance

        if self.data is None:
            self.data = lance.dataset(self.path)
        table = self.data.take(rows)
        if self.case.name == "tokens":
            values = table.column("tokens").to_pylist()
            return self.case.collate([{"tokens": row} for row in values])
        made = {}
        for name in table.column_names:
            column = table.column(name).combine_chunks()
            fixed = pa.types.is_fixed_size_list(column.type)
            array = column.flatten().to_numpy() if fixed else column.to_numpy()
            shape = (-1, 3, 64, 64) if name == "images" else (len(rows), -1) if fixed else (-1,)
            made[name] = torch.tensor(array.reshape(shape))
        return made

    def __len__(self) -> int:
        return self.n_rows


def batches(source: Path, folder: Path, *, batch_size: int, workers: int, case: Any) -> Any:
    dataset = Batches(str(folder / "data.lance"), case)
    more: Any = {"multiprocessing_context": "spawn"} if workers else {}
    return DataLoader(
        dataset, batch_size, shuffle=True, num_workers=workers, collate_fn=_same, **more
    )


def _same(batch: Any) -> Any:
    return batch
