"""What is known before rows are read: files found, scanned and recognised.

`open_catalog` finds the files (`sources`, `aligned`), scans them or takes their layouts from where
they are kept (`layouts`, `references`, `scanned`, `kept`), and decides for each dataset whether its
bytes are read directly or through h5py (`routes`); `whole` reads what fields need to know
beforehand, and `choose` what decides which rows are wanted. What is read for that goes through
`reader`, which knows nothing of this room.
"""

from h5stream.opening.choose import choose_rows
from h5stream.opening.open_catalog import open_catalog
from h5stream.opening.sources import Paths, Sources, expand_sources

__all__ = ["Paths", "Sources", "choose_rows", "expand_sources", "open_catalog"]
