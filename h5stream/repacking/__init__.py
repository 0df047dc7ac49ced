"""Rows of any files, written again into files that stream fast.

`rows` streams them in order, `shuffled` in the order of keys that are drawn, out of core; `repack`
writes them, and goes on with what an earlier run has written; `compare` reads both again.
"""

from h5stream.repacking.compare import verify
from h5stream.repacking.repack import Repacked, repack
from h5stream.repacking.rows import Progress

__all__ = ["Progress", "Repacked", "repack", "verify"]
