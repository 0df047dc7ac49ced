"""The only rooms that move data bytes.

`access` knows the way to files: `local` ones are read in place, `remote` ones by ranges that are
asked for ahead (`request_queue`, `retry`, on the process's event `loop`). `coalesce` joins
neighbours, and `redact` keeps secrets out of names and messages. What the bytes mean is not known
here.
"""

from h5stream.fetch.access import Access, open_access
from h5stream.fetch.coalesce import coalesce_ranges
from h5stream.fetch.file import DataFile, Fetched
from h5stream.fetch.local import LocalFile
from h5stream.fetch.redact import is_url

__all__ = [
    "Access",
    "DataFile",
    "Fetched",
    "LocalFile",
    "coalesce_ranges",
    "is_url",
    "open_access",
]
