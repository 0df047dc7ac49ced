"""Reads the columns that decide which rows are wanted, and narrows a catalog to those rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from h5stream.columns import Column
from h5stream.errors import ConfigError
from h5stream.fields import (
    Asked,
    FileFields,
    Listed,
    Missing,
    Subset,
    Weights,
    locate_rows,
    resolve_subset,
    resolve_weights,
)
from h5stream.fields.resolve import keys_of
from h5stream.fields.subset import is_chain, labels_of
from h5stream.opening.tables import read_keys
from h5stream.plan import Pieces
from h5stream.reader.catalog import Catalog
from h5stream.reader.reader import Reader
from h5stream.reader.stats import Stats

__all__ = ["OpenFields", "choose_rows", "read_column"]

_SHOWN = 5


OpenFields = Callable[[Mapping[str, Asked]], Catalog]
"""Opens the same files with other fields, or with more."""


def choose_rows(
    catalog: Catalog,
    subset: Subset,
    open_fields: OpenFields,
    *,
    keep_order: bool,
    missing: Missing = "error",
    weights: Weights = None,
    weighted: bool = False,
) -> Catalog:
    """Narrow a catalog to some of its rows, and weigh them.

    Parameters
    ----------
    catalog : Catalog
        All rows.
    subset : Subset
        Which are wanted; see `resolve_subset`.
    open_fields : callable
        Opens the same files with other fields.
    keep_order : bool
        Keep the order in which rows were given; if not, they come in the order of the files.
    missing : {"error", "drop"}
        What to do with a listed key that no row has.
    weights : Weights
        How often rows are wanted; see `resolve_weights`.
    weighted : bool
        Whether they are weighed at all.

    Raises
    ------
    ConfigError
        If the subset does not fit the rows, or is empty.
    """

    def read(asked: Asked) -> Column:
        if isinstance(asked, str) and asked in catalog.files[0].fields:
            return read_column(catalog, asked)
        name = asked if isinstance(asked, str) else str(asked)
        return read_column(open_fields({name: asked}), name)

    told: tuple[str, ...] = ()
    first, *others = subset if is_chain(subset) else [subset]
    if isinstance(first, Listed):
        named, told = _listed_rows(catalog, first, open_fields, missing)
        subset = [named, *others] if others else named
    if any(isinstance(each, Listed) for each in others):
        raise ConfigError("of several subsets, Listed comes first: it names rows of all files")
    rows = resolve_subset(subset, catalog.n_rows, read)
    if rows is not None and not len(rows):
        raise ConfigError(f"the subset has none of the {catalog.n_rows} rows")
    if rows is not None and not keep_order:
        rows = np.sort(rows)
    if weighted:
        catalog = replace(catalog, weights=resolve_weights(weights, rows, catalog.n_rows, read))
    return catalog if rows is None else _narrowed(catalog, rows, told)


def _narrowed(catalog: Catalog, rows: np.ndarray, told: tuple[str, ...]) -> Catalog:
    """Keep some rows, in their order: each file keeps its own, and an order says how they mix."""
    numbers, within = locate_rows(rows, [file.n_rows for file in catalog.files])
    present, first, which = np.unique(numbers, return_index=True, return_inverse=True)
    coming = np.argsort(first)  # the files, in the order in which they come first
    ranks = np.argsort(coming)[which]
    listed = np.argsort(ranks, kind="stable")
    parts = np.split(within[listed], np.flatnonzero(np.diff(ranks[listed])) + 1)
    files: list[FileFields] = []
    for number, part in zip(present[coming].tolist(), parts, strict=True):
        file = catalog.files[number]
        files.append(replace(file, rows=file.numbers[part]))
    files[0] = replace(files[0], left_out=(*files[0].left_out, *told))
    order = np.argsort(listed)
    mixed = bool((np.diff(ranks) < 0).any())
    return replace(catalog, files=tuple(files), order=order if mixed else None)


def _listed_rows(
    catalog: Catalog, listed: Listed, open_fields: OpenFields, missing: Missing
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Find the rows that a list names; also say which keys no row has."""
    keys = read_keys(listed, catalog.access)
    asked = {f"key {number} of rows": by for number, by in enumerate(keys_of(listed))}
    opened = open_fields(asked)
    ids = [labels_of(read_column(opened, name), name, catalog.n_rows) for name in asked]
    rows, unknown = keys.rows("subset", ids)
    if not unknown:
        return rows, ()
    shown = ", ".join(unknown[:_SHOWN]) + (" and others" if len(unknown) > _SHOWN else "")
    told = f"{len(unknown)} of the keys that subset lists belong to no row: {shown}"
    if missing == "error":
        example = ", ".join(str(some[0]) for some in ids if len(some))
        raise ConfigError(
            f'{told}; rows have keys like {example}; leave such keys out with missing="drop"'
        )
    return rows, (told,)


def read_column(catalog: Catalog, name: str) -> Column:
    """Read all rows of one field."""
    files = tuple(replace(file, fields={name: file.fields[name]}) for file in catalog.files)
    one = replace(catalog, files=files)
    reader = Reader(one, Stats())
    sizes = np.array([file.n_rows for file in files], np.int64)
    every = Pieces(np.arange(len(files)), np.zeros(len(files), np.int64), sizes)
    reads = reader.window(every)
    reader.run(reads)
    reads.check_unchanged()
    reads.check_values()
    return reads.columns[name]
