"""The only rooms that move data bytes: `local` reads files, `coalesce` joins neighbours.

What the bytes mean is not known here.
"""

from h5stream.fetch.coalesce import coalesce_ranges
from h5stream.fetch.local import LocalFile

__all__ = ["LocalFile", "coalesce_ranges"]
