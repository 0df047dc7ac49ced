"""Which parts of a remote file HDF5 will ask for next, read out of those that it has asked for.

`pointers` says what a block of metadata tells about others; `headers`, `groups`, `trees`, `records`
and `arrays` read the kinds of blocks, and `follow` finds the right one; `prefetch` decides which of
the blocks to fetch. Nothing here is believed: what is damaged, or not understood, costs bytes or
turns, and HDF5 decides what stands in a file. How bytes are fetched is not known here.
"""

from h5stream.layout.metadata.prefetch import MetadataPrefetch, PrefetchSizes
from h5stream.layout.metadata.trees import TREE_SIGNATURE, TreeLevels

__all__ = ["TREE_SIGNATURE", "MetadataPrefetch", "PrefetchSizes", "TreeLevels"]
