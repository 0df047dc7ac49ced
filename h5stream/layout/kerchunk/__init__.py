"""Turns layouts into kerchunk's references, and back: Zarr version 2 metadata with byte ranges.

`arrays` says what an array is and what does not fit, `as_json` and `as_parquet` are the two ways
in which references are written down. The format has no place for some of what HDF5 files have:
skipped filters of single chunks, several compressors, compound types. What does not fit is refused,
never left out. References say nothing of the version of a file, and may hold chunks themselves or
need codecs that HDF5 does not have: whoever reads them asks the file, which has the last word.

See https://fsspec.github.io/kerchunk/spec.html and fsspec's ``LazyReferenceMapper``.
"""

from h5stream.layout.kerchunk.arrays import References
from h5stream.layout.kerchunk.as_json import JsonReferences, pack_json
from h5stream.layout.kerchunk.as_parquet import FOLDER_INDEX, ParquetReferences, pack_parquet

__all__ = [
    "FOLDER_INDEX",
    "JsonReferences",
    "ParquetReferences",
    "References",
    "pack_json",
    "pack_parquet",
]
