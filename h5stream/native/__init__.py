"""Jobs done without the interpreter: `executor.c` reads, decodes and places in one call.

`build` compiles it when the package is installed, `library` loads it and finds the codecs,
`choice` says which executor reads and why, `job` turns arrays into one call, and `rows` makes the
arrays from what a job of the reader is to bring. Nothing here decides what is read or in which
order, and nothing raises for what is damaged: rows that could not be brought are named, and the
caller brings them in Python, where errors have words.
"""

from h5stream.native.choice import Executor, choose_executor
from h5stream.native.job import Bytes, Done, Window
from h5stream.native.rows import NativeRows

__all__ = ["Bytes", "Done", "Executor", "NativeRows", "Window", "choose_executor"]
