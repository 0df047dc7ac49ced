"""Columns: one field of some rows, and the small algebra over them.

Four kinds: a NumPy array whose axis 0 counts rows; `Ragged`, rows of unequal length; `Sparse`,
rows of a CSR matrix; `Slices`, rows that are slices of one array and may overlap. The last three
are values and, for each row, where it starts in them: slices and `take` move no values, so a
shuffled window costs nothing until a batch of it is put together. Nothing here reads anything.
"""

from h5stream.columns.algebra import Column, arrays, as_column, concat, own, stack, take
from h5stream.columns.moments import Moments, merge_moments, moments_of
from h5stream.columns.patches import Patches
from h5stream.columns.ragged import Ragged, Text, decode_text, gather
from h5stream.columns.slices import Padding, Slices
from h5stream.columns.sparse import DenseRows, Sparse

__all__ = [
    "Column",
    "DenseRows",
    "Moments",
    "Padding",
    "Patches",
    "Ragged",
    "Slices",
    "Sparse",
    "Text",
    "arrays",
    "as_column",
    "concat",
    "decode_text",
    "gather",
    "merge_moments",
    "moments_of",
    "own",
    "stack",
    "take",
]
