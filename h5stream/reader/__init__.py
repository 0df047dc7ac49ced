"""The one place where layout, fetch and decode meet: row chunks in, columns out.

A `Catalog` says what can be read, and how. `planning` turns the pieces of a lane into tasks, which
are data (`tasks`, `columns`); `execution` carries them out; `reader` joins both for windows. Which
windows are read, and when, is decided above.
"""

from h5stream.reader.catalog import Catalog, Route
from h5stream.reader.planning.resident import resident_fields
from h5stream.reader.planning.window import ROW_NUMBERS
from h5stream.reader.reader import Reader, WindowReads
from h5stream.reader.stats import COUNTERS, Stats, padding_waste
from h5stream.reader.tasks import ReadTask

__all__ = [
    "COUNTERS",
    "ROW_NUMBERS",
    "Catalog",
    "ReadTask",
    "Reader",
    "Route",
    "Stats",
    "WindowReads",
    "padding_waste",
    "resident_fields",
]
