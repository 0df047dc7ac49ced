"""The one place where layout, fetch and decode meet: row chunks in, columns out.

`catalog` scans files and decides, dataset by dataset, whether its bytes are read directly or
through h5py (`routes`, `fallback`). `reader` turns the pieces of a window into buffers and jobs
that fill them (`direct`, `resident`); who runs the jobs, and when, is decided above.
"""

from h5stream.reader.asking import start_job
from h5stream.reader.catalog import Catalog, expand_sources, open_catalog
from h5stream.reader.reader import Reader, WindowReads, resident_fields
from h5stream.reader.routes import Route
from h5stream.reader.stats import Stats

__all__ = [
    "Catalog",
    "Reader",
    "Route",
    "Stats",
    "WindowReads",
    "expand_sources",
    "open_catalog",
    "resident_fields",
    "start_job",
]
