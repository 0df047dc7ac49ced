"""Carries out read tasks: bytes are fetched, decoded, and put to their places in buffers.

`executor` runs one task on one thread: `raw_rows`, `chunks` and `heap` read without HDF5,
`fallback` through h5py; `destination` knows where rows go, `run` what is at hand and what is
counted, `files` what is open. `threads` starts tasks once their bytes are there.
"""

from h5stream.reader.execution.executor import Executor
from h5stream.reader.execution.threads import run_here, start_tasks

__all__ = ["Executor", "run_here", "start_tasks"]
