"""Bytes -> arrays: `filters` is a table of decoders, `chunks` runs a dataset's pipeline of them.

No I/O happens here, and nothing is known of files but what messages need. Every decoder releases
the interpreter lock while it works.
"""

from h5stream.decode.chunks import Pipeline, Step
from h5stream.decode.filters import DECODERS, FLETCHER32, LZF, describe_filter
from h5stream.decode.scratch import Scratch

__all__ = ["DECODERS", "FLETCHER32", "LZF", "Pipeline", "Scratch", "Step", "describe_filter"]
