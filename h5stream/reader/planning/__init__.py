"""What it takes to read rows, as tasks: pure functions of a catalog and of places of rows.

`window` plans what a lane reads at once, `columns` its columns that are not dense, `datasets` one
dataset or many in a row, `direct` chunks and rows that are read without HDF5, `heap` elements of
variable length. `resident` chooses what stays in memory, and `costs` adds up. Nothing here opens a
file, holds memory or knows of threads.
"""

from h5stream.reader.planning.costs import Costs, WindowCosts, costs_of, costs_of_windows
from h5stream.reader.planning.datasets import DatasetPlans
from h5stream.reader.planning.direct import Spans, plan_direct
from h5stream.reader.planning.heap import plan_heap
from h5stream.reader.planning.resident import resident_fields
from h5stream.reader.planning.window import ROW_NUMBERS, WindowPlan, WindowPlanner

__all__ = [
    "ROW_NUMBERS",
    "Costs",
    "DatasetPlans",
    "Spans",
    "WindowCosts",
    "WindowPlan",
    "WindowPlanner",
    "costs_of",
    "costs_of_windows",
    "plan_direct",
    "plan_heap",
    "resident_fields",
]
