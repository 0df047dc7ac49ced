"""Reads the columns that decide which rows are wanted, and narrows a catalog to those rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from h5stream.columns import Column
from h5stream.decode import Scratch
from h5stream.errors import ConfigError
from h5stream.fields import FileFields, Subset, locate_rows, resolve_subset
from h5stream.plan import Pieces
from h5stream.reader.asking import run_all
from h5stream.reader.catalog import Catalog
from h5stream.reader.reader import Reader
from h5stream.reader.stats import Stats

__all__ = ["choose_rows", "read_column"]


def choose_rows(
    catalog: Catalog, subset: Subset, open_field: Callable[[str], Catalog], *, keep_order: bool
) -> Catalog:
    """Narrow a catalog to some of its rows.

    Parameters
    ----------
    catalog : Catalog
        All rows.
    subset : Subset
        Which are wanted; see `resolve_subset`.
    open_field : callable
        Opens the same files with one other field, by name.
    keep_order : bool
        Keep the order in which rows were given; if not, they come in the order of the files.

    Raises
    ------
    ConfigError
        If the subset does not fit the rows, or is empty.
    """

    def read(name: str) -> Column:
        known = name in catalog.files[0].fields
        return read_column(catalog if known else open_field(name), name)

    rows = resolve_subset(subset, catalog.n_rows, read)
    if rows is None:
        return catalog
    if not len(rows):
        raise ConfigError(f"the subset has none of the {catalog.n_rows} rows")
    if not keep_order:
        rows = np.sort(rows)
    numbers, within = locate_rows(rows, [file.n_rows for file in catalog.files])
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(rows)]
    files: list[FileFields] = []
    for start, stop in pairwise(cuts):
        file = catalog.files[int(numbers[start])]
        files.append(replace(file, rows=file.numbers[within[start:stop]]))
    return replace(catalog, files=tuple(files))


def read_column(catalog: Catalog, name: str) -> Column:
    """Read all rows of one field."""
    files = tuple(replace(file, fields={name: file.fields[name]}) for file in catalog.files)
    one = replace(catalog, files=files)
    reader = Reader(one, Stats())
    sizes = np.array([file.n_rows for file in files], np.int64)
    every = Pieces(np.arange(len(files)), np.zeros(len(files), np.int64), sizes)
    reads = reader.window(every)
    run_all(reads.jobs, Scratch())
    reads.check_unchanged()
    reads.check_values()
    return reads.columns[name]
