"""The one place where layout, fetch and decode meet: row chunks in, columns out.

A `Catalog` says what can be read, and how. `reader` turns the pieces of a window into columns
(`assemble`, `resident`) and the jobs that fill them (`datasets`, `direct`, `heap`, `fallback`); who
runs the jobs, and when, is decided above.
"""

from h5stream.reader.asking import start_job
from h5stream.reader.catalog import Catalog, Route
from h5stream.reader.reader import ROW_NUMBERS, Reader, WindowReads, stored_spans
from h5stream.reader.resident import resident_fields
from h5stream.reader.stats import Stats

__all__ = [
    "ROW_NUMBERS",
    "Catalog",
    "Reader",
    "Route",
    "Stats",
    "WindowReads",
    "resident_fields",
    "start_job",
    "stored_spans",
]
