"""Looks at heaps before HDF5 does, which walks a damaged one without end.

What has variable length, text above all, lies in heap collections: objects one after the other,
each with its size in front, which HDF5 believes. Here the collections of an attribute or a dataset
are walked first, within bounds. That is done for files at a path; of remote ones, and where
descriptors are filtered by more than gzip, nothing is known beforehand.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5t

from h5stream.errors import LayoutError
from h5stream.layout.hints.headers import Attribute, attribute_bodies, message_pointers
from h5stream.layout.hints.pointers import UNDEFINED, Cursor, Kind
from h5stream.system import open_descriptor, read_at

__all__ = ["check_attribute_heap", "check_dataset_heap"]

_HEADER_BYTES = 2**16
_MOST_PARTS = 256
_MOST_PART_BYTES = 2**22
_DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_SIGNATURE = b"GCOL\x01"
_OBJECT_BYTES = 16
_DEFLATE = 1

Read = Callable[[int, int], bytes]


def check_attribute_heap(node: Any, name: str) -> None:
    """Check the heap that an attribute of variable length lies in.

    Parameters
    ----------
    node : h5py.Group or h5py.Dataset
        Whose attribute it is.
    name : str
        Of the attribute.

    Raises
    ------
    LayoutError
        If HDF5 could walk it without end.
    KeyError
        If there is no such attribute.
    """
    if not _varies(h5a.open(node.id, name.encode()).get_type()):
        return
    with _opened(node) as raw:
        if raw is None:
            return
        base = int(node.file.userblock_size)
        place = int(h5py.h5g.get_objinfo(node.id).objno[0]) + base
        for body in _bodies(raw.read, place):
            if body.name == name:
                _check_collections(raw, node, body.data, base)


def check_dataset_heap(dataset: h5py.Dataset) -> None:
    """Check the heap that the elements of a dataset of variable length lie in.

    Raises
    ------
    LayoutError
        If HDF5 could walk it without end.
    """
    if not _varies(dataset.id.get_type()):
        return
    with _opened(dataset) as raw:
        if raw is None:
            return
        for data in _stored(raw.read, dataset):
            _check_collections(raw, dataset, data, int(dataset.file.userblock_size))


def _varies(kind: Any) -> bool:
    is_text = kind.get_class() == h5t.STRING and kind.is_variable_str()
    return bool(is_text) or kind.get_class() == h5t.VLEN


class _Opened:
    """The bytes of a local file; None within `with` if it is another."""

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._descriptor = -1
        self.size_bytes = 0

    def __enter__(self) -> _Opened | None:
        if self._path is None:
            return None
        self._descriptor = open_descriptor(self._path)
        self.size_bytes = os.fstat(self._descriptor).st_size
        return self

    def __exit__(self, *_error: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, place: int, nbytes: int) -> bytes:
        """Read bytes, fewer at the end of the file."""
        if not 0 <= place < self.size_bytes:
            return b""
        data = np.empty(min(nbytes, self.size_bytes - place), np.uint8)
        return data[: read_at(self._descriptor, [data], place)].tobytes()


def _opened(node: Any) -> _Opened:
    local = node.file.driver == "sec2"
    return _Opened(node.file.filename if local else None)


def _bodies(read: Read, place: int) -> Iterator[Attribute]:
    """Yield the attributes that stand in an object header, or in its further parts."""
    parts: list[tuple[int, int, tuple[int, ...]]] = [(place, _HEADER_BYTES, ())]
    for at, nbytes, detail in parts:
        data = read(at, min(nbytes, _MOST_PART_BYTES))
        try:
            pointers = list(message_pointers(data, detail))
            found = list(attribute_bodies(data, detail))
        except (IndexError, ValueError):
            return  # HDF5 will say what is wrong
        yield from found
        further = (each for each in pointers if each.kind is Kind.PART)
        parts += [(each.place, each.nbytes, each.detail) for each in further][
            : _MOST_PARTS - len(parts)
        ]


def _stored(read: Read, dataset: h5py.Dataset) -> Iterator[bytes]:
    """Yield the descriptors of a dataset, as far as they can be read without HDF5."""
    plist = dataset.id.get_create_plist()
    count = int(dataset.size or 0)
    if plist.get_layout() == h5py.h5d.CONTIGUOUS and not plist.get_external_count():
        offset = dataset.id.get_offset()
        if offset is not None and dataset.id.get_storage_size():
            yield read(int(offset), count * _DESCRIPTOR.itemsize)
    elif plist.get_layout() == h5py.h5d.CHUNKED:
        filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        if filters not in ([], [_DEFLATE]):
            return
        most = int(np.prod(dataset.chunks)) * _DESCRIPTOR.itemsize
        for number in range(dataset.id.get_num_chunks()):
            chunk = dataset.id.get_chunk_info(number)
            if chunk.byte_offset is None:
                continue
            data = read(int(chunk.byte_offset), min(int(chunk.size), 2 * most + 1024))
            if filters and not chunk.filter_mask:
                try:
                    data = zlib.decompressobj().decompress(data, most)
                except zlib.error:
                    continue  # HDF5 will say so
            yield data


def _check_collections(raw: _Opened, node: Any, data: bytes, base: int) -> None:
    whole = data[: len(data) // _DESCRIPTOR.itemsize * _DESCRIPTOR.itemsize]
    descriptors = np.frombuffer(whole, _DESCRIPTOR)
    used = descriptors["address"][descriptors["length"] > 0]
    for address in np.unique(used).tolist():
        if address not in (0, UNDEFINED) and not _is_sound(raw, address + base):
            raise LayoutError(
                f"{node.file.filename}: the heap at byte {address + base}, where text of "
                f"{node.name!r} lies, is damaged; copy the file again"
            )


def _is_sound(raw: _Opened, place: int) -> bool:
    """Walk a collection within bounds; say whether its objects fill it one after the other."""
    head = Cursor(raw.read(place, _OBJECT_BYTES))
    if head.left < _OBJECT_BYTES or head.take(5) != _SIGNATURE:
        return False
    head.take(3)
    size = head.number(8)
    if not _OBJECT_BYTES <= size <= raw.size_bytes - place:
        return False
    at, data, begin = _OBJECT_BYTES, b"", 0
    while at + _OBJECT_BYTES <= size:
        if at + _OBJECT_BYTES > begin + len(data):
            data, begin = raw.read(place + at, min(size - at, 2**16)), at
        index = int.from_bytes(data[at - begin : at - begin + 2], "little")
        nbytes = int.from_bytes(data[at - begin + 8 : at - begin + 16], "little")
        if not index:
            return nbytes == size - at
        if nbytes > size - at - _OBJECT_BYTES:
            return False
        at += _OBJECT_BYTES + -(-nbytes // 8) * 8
    return True
