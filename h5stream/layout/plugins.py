"""Looks at chunks before a plugin of HDF5 undoes their filter that never ends where they are cut.

That is bzip2, whose plugin asks a stream for more as long as it says neither that it has ended nor
that it is wrong, also where nothing of it is left.
"""

from __future__ import annotations

import bz2
import math

import h5py

from h5stream.errors import LayoutError

__all__ = ["check_plugin_chunks", "does_hdf5_end"]

_BZIP2 = 307
_FLETCHER32 = 3
_ROOM_BYTES = 64
"""What checksums may add to a chunk before it is compressed."""


def does_hdf5_end(filter_id: int) -> bool:
    """Tell whether HDF5 comes to an end with this filter, whatever a chunk holds.

    Examples
    --------
    >>> does_hdf5_end(1), does_hdf5_end(307)
    (True, False)
    """
    return filter_id != _BZIP2


def check_plugin_chunks(dataset: h5py.Dataset) -> None:
    """Check the chunks of a dataset, before HDF5 reads all of it.

    Raises
    ------
    LayoutError
        If HDF5 might not come to an end.
    """
    plist = dataset.id.get_create_plist()
    if plist.get_layout() != h5py.h5d.CHUNKED:
        return
    filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    if all(map(does_hdf5_end, filters)):
        return
    most = math.prod(dataset.chunks) * dataset.dtype.itemsize + _ROOM_BYTES
    for number in range(dataset.id.get_num_chunks()):
        chunk = dataset.id.get_chunk_info(number)
        kept = [each for at, each in enumerate(filters) if not chunk.filter_mask >> at & 1]
        if all(map(does_hdf5_end, kept)):
            continue
        stored = b""
        if chunk.size <= 2 * most:
            stored = dataset.id.read_direct_chunk(chunk.chunk_offset)[1]
        after = kept[kept.index(_BZIP2) + 1 :]
        whole = {(): len(stored), (_FLETCHER32,): len(stored) - 4}.get(tuple(after), 0)
        if not _ends(stored[:whole], most):
            raise LayoutError(
                f"{dataset.file.filename}: the chunk of {dataset.name!r} at {chunk.chunk_offset} "
                f"has no end after {chunk.size} bytes; it is damaged, copy the file again"
            )


def _ends(stored: bytes, most: int) -> bool:
    """Tell whether a bzip2 stream ends within some bytes, decoded."""
    decompressor = bz2.BZ2Decompressor()
    try:
        left = most - len(decompressor.decompress(stored, most))
        while not decompressor.eof and not decompressor.needs_input and left > 0:
            left -= len(decompressor.decompress(b"", left))
    except OSError:
        return True  # HDF5's plugin sees this too, and says so
    return decompressor.eof
