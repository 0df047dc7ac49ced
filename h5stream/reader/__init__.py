"""The one place where layout, fetch and decode meet: row chunks in, columns out.

`catalog` scans files and decides, dataset by dataset, whether its bytes are read directly or
through h5py (`routes`, `fallback`); `whole` reads what fields need to know beforehand, and
`choose` what decides which rows are wanted. `reader`
turns the pieces of a window into columns (`assemble`, `resident`) and the jobs that fill them
(`datasets`, `direct`, `heap`); who runs the jobs, and when, is decided above.
"""

from h5stream.reader.asking import Job, start_job
from h5stream.reader.catalog import Catalog, expand_sources, open_catalog
from h5stream.reader.choose import choose_rows
from h5stream.reader.reader import ROW_NUMBERS, Reader, WindowReads, stored_spans
from h5stream.reader.resident import resident_fields
from h5stream.reader.routes import Route
from h5stream.reader.stats import COUNTERS, Stats, padding_waste

__all__ = [
    "COUNTERS",
    "ROW_NUMBERS",
    "Catalog",
    "Job",
    "Reader",
    "Route",
    "Stats",
    "WindowReads",
    "choose_rows",
    "expand_sources",
    "open_catalog",
    "padding_waste",
    "resident_fields",
    "start_job",
    "stored_spans",
]
