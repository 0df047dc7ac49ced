"""WHERE the bytes of a file's datasets lie.

`model` holds frozen facts about files, `scan` finds them with h5py and closes the file again: it
opens (`opening`), looks into groups (`contents`), describes datasets (`elements`) and lists their
chunks (`tables`).
Nothing here decides what to read, in which order or how to decode it.
"""

from h5stream.layout.model import (
    ChunkTable,
    DatasetLayout,
    FileLayout,
    FilterSpec,
    Fingerprint,
    Storage,
    VlenType,
)
from h5stream.layout.opening import fingerprint_of
from h5stream.layout.scan import scan_file

__all__ = [
    "ChunkTable",
    "DatasetLayout",
    "FileLayout",
    "FilterSpec",
    "Fingerprint",
    "Storage",
    "VlenType",
    "fingerprint_of",
    "scan_file",
]
