"""Files that stream fast: rows are gathered into chunks, encoded on threads, and written once."""

from h5stream.write.columns import DenseColumn, RaggedColumn, SparseColumn, TextColumn
from h5stream.write.writer import Writer

__all__ = ["DenseColumn", "RaggedColumn", "SparseColumn", "TextColumn", "Writer"]
