"""Counts the requests that remote files would get, by arithmetic on the plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from h5stream.fetch.coalesce import join_ranges
from h5stream.fields import DenseField
from h5stream.layout import DatasetLayout
from h5stream.plan import Pieces
from h5stream.reader.catalog import Catalog
from h5stream.reader.direct import DirectDataset, Spans
from h5stream.reader.peek import NoFile
from h5stream.reader.stats import Stats

__all__ = ["count_requests"]


def count_requests(
    catalog: Catalog, groups: Sequence[Pieces], resident: frozenset[str]
) -> tuple[int, int]:
    """Count requests and bytes that serve groups of pieces, each read together.

    Parameters
    ----------
    catalog : Catalog
        The files; local ones cost nothing.
    groups : sequence of Pieces
        Windows, or single row chunks.
    resident : frozenset of str
        Fields that are read once, and count nothing here.
    """
    requests = nbytes = 0
    for group in groups:
        for layout, spans in _reads(catalog, group, resident):
            direct = DirectDataset(layout, NoFile(), Stats())
            for part in direct.parts(spans):
                joined = join_ranges(*direct.ranges(part))
                requests += len(joined)
                nbytes += sum(stop - start for start, stop in joined)
    return requests, nbytes


def _reads(
    catalog: Catalog, group: Pieces, resident: frozenset[str]
) -> Iterator[tuple[DatasetLayout, Spans]]:
    first = np.cumsum(group.sizes) - group.sizes
    for number in sorted(set(group.file.tolist())):
        of_file = group.file == number
        spans = (group.start[of_file], group.stop[of_file], first[of_file])
        fields: list[DenseField] = [
            field
            for name, field in catalog.files[number].fields.items()
            if name not in resident and catalog.access.is_remote(field.layout.file)
        ]
        layouts = {(field.layout.file, field.layout.path): field.layout for field in fields}
        for key, layout in layouts.items():
            if catalog.routes[key].direct and layout.nbytes:
                yield layout, spans
