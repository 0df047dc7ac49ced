"""WHERE the bytes of a file's datasets lie.

`model` holds frozen facts about files, `scan` finds them with h5py and closes the file again.
Nothing here decides what to read, in which order or how to decode it.
"""

from h5stream.layout.model import (
    ChunkTable,
    DatasetLayout,
    FileLayout,
    FilterSpec,
    Fingerprint,
    Storage,
)
from h5stream.layout.scan import fingerprint_of, scan_file

__all__ = [
    "ChunkTable",
    "DatasetLayout",
    "FileLayout",
    "FilterSpec",
    "Fingerprint",
    "Storage",
    "fingerprint_of",
    "scan_file",
]
