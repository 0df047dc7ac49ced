"""Chooses the dense fields that are read once and stay in memory."""

from __future__ import annotations

from h5stream.fields import Reading
from h5stream.reader.catalog import Catalog

__all__ = ["resident_fields"]

_RESIDENT_BYTES = 16 * 2**20
"""What a field may take over all files to stay in memory."""

_SHARED_PART = 25
"""With several instances, fields that stay in memory make up a 25th of all bytes fetched."""


def resident_fields(catalog: Catalog, instances: int = 1) -> frozenset[str]:
    """Choose the dense fields that are read once and stay in memory.

    A field that is small over all files stays, unless it is the one whose chunks cut the rows.
    Several instances each read it whole: then fields that chunks serve as well stay only as long
    as that adds little to what all instances fetch together.

    Parameters
    ----------
    catalog : Catalog
        The files.
    instances : int
        How many share an epoch.
    """
    nbytes = {
        name: sum(file.fields[name].nbytes for file in catalog.files)
        for name in catalog.files[0].fields
    }
    left = sum(nbytes.values())
    if instances > 1:
        left //= _SHARED_PART * instances
    chosen = []
    for name in sorted(nbytes, key=nbytes.__getitem__):
        if nbytes[name] > _RESIDENT_BYTES or not _may_stay(catalog, name):
            continue
        if nbytes[name] <= left or not _chunks_serve(catalog, name):
            chosen.append(name)
            left -= nbytes[name]
    return frozenset(chosen)


def _may_stay(catalog: Catalog, name: str) -> bool:
    """Say whether a field is read row by row, and does not cut the rows of a file."""
    return all(
        file.fields[name].reading is Reading.PLACED
        and file.heaviest.layouts[:1] != file.fields[name].layouts[:1]
        for file in catalog.files
    )


def _chunks_serve(catalog: Catalog, name: str) -> bool:
    """Say whether reading a field's rows with those of the heaviest reads few others."""
    for file in catalog.files:
        layout = file.fields[name].layouts[0]
        chunk_rows = file.heaviest.layouts[0].chunk_rows if file.heaviest.layouts else None
        large = layout.filters and (layout.chunk_rows or 0) > (chunk_rows or 1)
        if large or not catalog.routes[layout.key].direct:
            return False
    return True
