"""Looks at heaps before HDF5 does, which walks a damaged one without end.

What has variable length, text above all, lies in heap collections: objects one after the other,
each with its size in front, which HDF5 believes. They are walked first, within bounds:

1. Of a file at a path, the collections that an attribute or a dataset names, as far as its
   descriptors can be read here.
2. Where they cannot (attributes in a heap of their own, filters other than gzip), HDF5 reads them
   once through an `Image`, which looks at each collection that passes.
3. Remote files are read through one anyway.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5t

from h5stream.errors import LayoutError
from h5stream.layout.image import Image, Read, is_sound_collection
from h5stream.layout.metadata.headers import Attribute, attribute_bodies, message_pointers
from h5stream.layout.metadata.pointers import UNDEFINED, Kind
from h5stream.system import open_descriptor, read_at

__all__ = ["check_attribute_heap", "check_dataset_heap"]

_HEADER_BYTES = 2**16
_MOST_ELEMENTS = 2**16
_MOST_PARTS = 256
_MOST_PART_BYTES = 2**22
_DESCRIPTOR = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_DEFLATE = 1


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
        If HDF5 could walk it without end, or it holds lists of variable length: HDF5 crashes on
        damaged types of those, and no text or number is stored so.
    KeyError
        If there is no such attribute.
    """
    kind = h5a.open(node.id, name.encode()).get_type()
    if not _has_varying(kind):
        return
    if kind.get_class() == h5t.VLEN:
        raise LayoutError(
            f"{node.file.filename}: attribute {name!r} of {node.name!r} holds lists of variable "
            "length; only text and plain elements are read"
        )
    with _opened(node) as raw:
        if raw is None:
            return
        base = int(node.file.userblock_size)
        place = int(h5py.h5g.get_objinfo(node.id).objno[0]) + base
        bodies = _bodies(raw.read, place) if _varies(kind) else ()
        found = [body.data for body in bodies if body.name == name]
        for data in found:
            _check_collections(raw, node, data, base)
        if not found:
            _watch(node, raw, lambda again: again.attrs[name])


def check_dataset_heap(dataset: h5py.Dataset) -> None:
    """Check the heap that elements of variable length of a dataset lie in; not of virtual ones.

    Raises
    ------
    LayoutError
        If HDF5 could walk it without end.
    """
    plist, kind = dataset.id.get_create_plist(), dataset.id.get_type()
    if not _has_varying(kind) or plist.get_layout() == h5py.h5d.VIRTUAL:
        return
    with _opened(dataset) as raw:
        if raw is None:
            return
        if not (_varies(kind) and _is_plain(plist)):
            _watch(dataset, raw, _read_all)
            return
        for data in _descriptors(raw.read, dataset, plist):
            _check_collections(raw, dataset, data, int(dataset.file.userblock_size))


def _is_plain(plist: Any) -> bool:
    """Tell whether stored descriptors can be read without HDF5."""
    if plist.get_layout() == h5py.h5d.CHUNKED:
        filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
        return filters in ([], [_DEFLATE])
    return bool(plist.get_layout() == h5py.h5d.CONTIGUOUS)


def _read_all(dataset: h5py.Dataset) -> None:
    """Read a dataset in parts, and keep nothing."""
    if not dataset.shape:
        dataset[()]
        return
    row_size = max(1, dataset.size // max(1, len(dataset)))
    step = max(1, _MOST_ELEMENTS // row_size)
    for start in range(0, len(dataset), step):
        dataset[start : start + step]


def _watch(node: Any, raw: _Opened, read: Callable[[Any], Any]) -> None:
    """Let HDF5 read once through an image; of all else that is wrong it tells when it reads."""
    image = Image(node.file.filename, raw.size_bytes, raw.read)
    harmless = contextlib.suppress(OSError, RuntimeError, KeyError, ValueError, TypeError)
    with harmless, h5py.File(image, "r") as file:
        read(file[node.name])
    if image.damaged is not None:
        raise _damage(node, image.damaged)


def _has_varying(kind: Any) -> bool:
    """Tell whether elements of a type have variable length, or hold what has."""
    if kind.get_class() == h5t.COMPOUND:
        members = (kind.get_member_type(number) for number in range(kind.get_nmembers()))
        return any(map(_has_varying, members))
    if kind.get_class() == h5t.ARRAY:
        return _has_varying(kind.get_super())
    return _varies(kind)


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


def _descriptors(read: Read, dataset: h5py.Dataset, plist: Any) -> Iterator[bytes]:
    count = int(dataset.size or 0)
    if plist.get_layout() == h5py.h5d.CONTIGUOUS and not plist.get_external_count():
        offset = dataset.id.get_offset()
        if offset is not None and dataset.id.get_storage_size():
            yield read(int(offset), count * _DESCRIPTOR.itemsize)
    elif plist.get_layout() == h5py.h5d.CHUNKED:
        most = int(np.prod(dataset.chunks)) * _DESCRIPTOR.itemsize
        for number in range(dataset.id.get_num_chunks()):
            chunk = dataset.id.get_chunk_info(number)
            if chunk.byte_offset is None:
                continue
            data = read(int(chunk.byte_offset), min(int(chunk.size), 2 * most + 1024))
            if plist.get_nfilters() and not chunk.filter_mask:
                try:
                    data = zlib.decompressobj().decompress(data, most)
                except zlib.error:
                    continue  # HDF5 will say so
            yield data


def _check_collections(raw: _Opened, node: Any, data: bytes, base: int) -> None:
    whole = data[: len(data) // _DESCRIPTOR.itemsize * _DESCRIPTOR.itemsize]
    descriptors = np.frombuffer(whole, _DESCRIPTOR)
    for address in np.unique(descriptors["address"]).tolist():
        if address in (0, UNDEFINED):
            continue
        if not is_sound_collection(raw.read, address + base, raw.size_bytes):
            raise _damage(node, address + base)


def _damage(node: Any, place: int) -> LayoutError:
    return LayoutError(
        f"{node.file.filename}: the heap at byte {place}, where text of {node.name!r} lies, is "
        "damaged; copy the file again"
    )
