"""WHERE the bytes of a file's datasets lie.

`model` holds frozen facts about files, `scan` finds them with h5py and closes the file again: it
opens (`opening`), looks into groups (`contents`), describes datasets (`elements`) and lists their
chunks (`tables`); `saved` writes the facts down.
How bytes of a remote file arrive is not known here: `partial_file` is handed a function for that.
Nothing here decides what to read, in which order or how to decode it.
"""

from h5stream.layout.extents import Extents
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
from h5stream.layout.packing import Packing
from h5stream.layout.partial_file import PartialFile
from h5stream.layout.saved import SavedFile, pack_layouts, unpack_layouts
from h5stream.layout.scan import scan_file
from h5stream.layout.source import LocalSource, Source

__all__ = [
    "ChunkTable",
    "DatasetLayout",
    "Extents",
    "FileLayout",
    "FilterSpec",
    "Fingerprint",
    "LocalSource",
    "Packing",
    "PartialFile",
    "SavedFile",
    "Source",
    "Storage",
    "VlenType",
    "fingerprint_of",
    "pack_layouts",
    "scan_file",
    "unpack_layouts",
]
