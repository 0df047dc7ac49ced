"""Blocks and samples -> dicts of tensors.

`batch` puts a batch together: `tensors` turns arrays and single values into tensors, `ragged`
and `sparse` turn columns of those kinds, `options` says what can be chosen, and `samples` lets
torch's `default_collate` do the same; `tensordicts` makes TensorDicts of them. Files and pipes are
unknown here.
"""

from h5stream.collation.batch import collate, collate_counted
from h5stream.collation.options import CollateOptions, Collation
from h5stream.collation.ragged import Packed, Padding
from h5stream.collation.samples import Sample
from h5stream.collation.sparse import Pairs, ignore_csr_warning
from h5stream.collation.tensordicts import batch_as_tensordict, sample_as_tensordict
from h5stream.collation.tensors import TENSOR_CHARS, to_tensor

__all__ = [
    "TENSOR_CHARS",
    "CollateOptions",
    "Collation",
    "Packed",
    "Padding",
    "Pairs",
    "Sample",
    "batch_as_tensordict",
    "collate",
    "collate_counted",
    "ignore_csr_warning",
    "sample_as_tensordict",
    "to_tensor",
]
