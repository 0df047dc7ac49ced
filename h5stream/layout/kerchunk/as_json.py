"""References in one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from h5stream.layout.kerchunk.arrays import (
    describe_arrays,
    make_arrays,
    places_of,
    refuse_damage,
    require_fitting,
    with_places,
)
from h5stream.layout.model import DatasetLayout, FileLayout

__all__ = ["JsonReferences", "pack_json"]

_META = (".zarray", ".zattrs", ".zgroup", ".zmetadata")


def pack_json(layout: FileLayout) -> bytes:
    """Write the datasets of a file as references.

    Raises
    ------
    UnsupportedError
        Naming the dataset that does not fit the format, and why.
    """
    require_fitting(layout)
    references: dict[str, Any] = {
        key: json.dumps(said) for key, said in describe_arrays(layout).items()
    }
    for dataset in layout.datasets.values():
        references.update(_places(dataset))
    return json.dumps({"version": 1, "refs": references}).encode()


def _places(layout: DatasetLayout) -> Iterator[tuple[str, list[Any]]]:
    """Give the keys of chunks, and where they lie."""
    grid, *columns = places_of(layout)
    if not len(columns[0]):
        return
    coordinates = np.stack(np.unravel_index(columns[0], grid), axis=1).tolist()
    prefix = layout.path.strip("/")
    for at, _index, offset, size in zip(
        coordinates, *(column.tolist() for column in columns), strict=True
    ):
        yield f"{prefix}/{'.'.join(map(str, at))}", [layout.file, offset, size]


class JsonReferences:
    """References that were read from JSON.

    Parameters
    ----------
    data : bytes
        The document.
    what : str
        What messages call it.

    Raises
    ------
    LayoutError
        If it is damaged.
    """

    def __init__(self, data: bytes, what: str) -> None:
        self._what = what
        with refuse_damage(what):
            said = json.loads(data)
            references: Mapping[str, Any] = said.get("refs", said)
            if said.get("templates") or said.get("gen"):
                raise ValueError("they have templates, which are not filled in here")
            described = {
                key: json.loads(value) if isinstance(value, str) else value
                for key, value in references.items()
                if key.endswith("/.zarray")
            }
            self.arrays = make_arrays(described)
            self._separators = {
                name: described[f"{name}/.zarray"].get("dimension_separator", ".")
                for name in self.arrays
            }
            self._chunks = self._sort(references)

    def _sort(self, references: Mapping[str, Any]) -> dict[str, list[tuple[str, Any]]]:
        """Give each array what is said of its chunks."""
        chunks: dict[str, list[tuple[str, Any]]] = {name: [] for name in self.arrays}
        for key, place in references.items():
            name, _, chunk = key.rpartition("/")
            if chunk in _META:
                continue
            while name and name not in chunks:  # the separator may be a slash
                name, _, rest = name.rpartition("/")
                chunk = f"{rest}/{chunk}"
            if name:
                chunks[name].append((chunk, place))
        return chunks

    def locate(self, names: Sequence[str]) -> dict[str, DatasetLayout]:
        """Add the chunk tables of some arrays, and the file that holds them."""
        with refuse_damage(self._what):
            return {name: self._locate(name) for name in names}

    def _locate(self, name: str) -> DatasetLayout:
        layout, files = self.arrays[name], set()
        if layout.indirect or layout.refused:
            return layout
        rows: list[tuple[int, int, int]] = []
        for chunk, place in self._chunks[name]:
            at = tuple(map(int, chunk.split(self._separators[name])))
            index = int(np.ravel_multi_index(at, layout.grid))
            if isinstance(place, str):
                return replace(layout, indirect="its chunks are in the references themselves")
            if not isinstance(place, list):
                raise ValueError(f"chunk {chunk} of {name!r} is neither data nor a range")
            file, offset, size = place if len(place) != 1 else (*place, 0, 0)
            rows.append((index, int(offset), int(size)))
            files.add(str(file))
        columns = np.array(rows, np.int64).reshape(-1, 3).T
        return with_places(layout, files, *columns)
