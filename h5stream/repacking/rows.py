"""Rows of any files, in order, in batches that a writer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from h5stream.conventions.schema import ROWS
from h5stream.fields import Asked, Origin, Subset
from h5stream.opening import Sources
from h5stream.pipes import Instance, Pipe, open_files
from h5stream.pipes.start import AfterBatches
from h5stream.plan import Cut
from h5stream.stream import as_arrays
from h5stream.write.columns import ColumnSpec
from h5stream.write.values import infer

__all__ = [
    "Plan",
    "Progress",
    "Stored",
    "batch_rows_of",
    "batches",
    "infer_columns",
    "length",
    "open_in_order",
    "part",
    "tell_nobody",
]

_BATCH_BYTES = 8 * 2**20

Progress = Callable[[str, int, int], None]
"""Told what is done, how many rows, and of how many."""


def open_in_order(
    sources: Sources,
    fields: Mapping[str, Asked] | Sequence[str] | None,
    subset: Subset,
    storage_options: Mapping[str, Any] | None,
    *,
    numbered: bool,
    batch_rows: int | None = None,
) -> Pipe:
    """Stream rows in order, as arrays; of a shuffle also their numbers."""
    options: dict[str, Any] = {"subset": subset, "storage_options": storage_options}
    wanted: Any = fields
    if numbered:
        names: Any = fields or list(open_files(sources, **options).catalog.columns)
        wanted = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
        wanted[ROWS] = Origin("index")
    files = open_files(sources, wanted, **options)
    rows = batch_rows or batch_rows_of(files)
    read = files.list_chunks(_BATCH_BYTES).shard(uneven="keep", rank=0, world_size=1).read_chunks()
    return read.batch(rows).collate(as_arrays)


@dataclass(frozen=True)
class Plan:
    """What is to be written.

    Parameters
    ----------
    stream : Pipe
        The rows, in order, in batches.
    options : mapping
        Of `Writer`.
    folder : Path
        Where it is written.
    tell : callable
        Told how far it is.
    shard_bytes : int or None
        About how large a file is; None: there is one.
    """

    stream: Pipe
    options: Mapping[str, Any]
    folder: Path
    tell: Progress
    shard_bytes: int | None = None

    @property
    def shard_rows(self) -> int:
        """How many rows a file has."""
        if self.shard_bytes is None:
            return self.n_rows
        return max(1, self.shard_bytes // self.row_nbytes)

    @property
    def parts(self) -> list[Path]:
        """The files, under their temporary names."""
        count = -(-self.n_rows // self.shard_rows)
        return [self.folder / f"part-{number}.h5" for number in range(count)]

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return self.stream.catalog.n_rows

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row, on average."""
        return max(1, self.stream.catalog.row_nbytes)


class Stored:
    """Rows in the order in which they are stored."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def begin(self, first: int) -> Iterator[dict[str, Any]]:
        """Give batches from row `first` on."""
        return batches(self.plan.stream, first)


def batches(stream: Pipe, first: int = 0) -> Iterator[dict[str, Any]]:
    """Stream batches from row `first` on; members of compounds are columns of their own."""
    size = batch_rows_of(stream)
    start = AfterBatches(first // size) if first >= size else None
    every = stream.run(0, cut=Cut(1, 1, "keep"), instance=Instance(), start=start)
    skipped = first % size
    for batch in every:
        yield part(_flat(batch), skipped)
        skipped = 0


def batch_rows_of(stream: Pipe) -> int:
    """Return how many rows a batch has."""
    return max(1, _BATCH_BYTES // max(1, stream.catalog.row_nbytes))


def _flat(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Make columns of the members of compounds."""
    found: dict[str, Any] = {}
    for name, column in batch.items():
        members = getattr(getattr(column, "dtype", None), "names", None)
        if members is None:
            found[name] = column
        else:
            found |= _flat({f"{name}/{member}": column[member] for member in members})
    return found


def part(rows: Mapping[str, Any], start: int, stop: int | None = None) -> dict[str, Any]:
    """Return rows ``start`` to ``stop``."""
    return {name: column[start:stop] for name, column in rows.items()}


def length(rows: Mapping[str, Any]) -> int:
    """Count rows."""
    return len(next(iter(rows.values())))


def infer_columns(stream: Pipe) -> dict[str, ColumnSpec]:
    """Infer columns from the first batch."""
    return infer(next(batches(stream)), 0)


def tell_nobody(_what: str, _done: int, _of: int) -> None:
    """Say nothing."""
