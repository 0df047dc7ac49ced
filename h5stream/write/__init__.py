"""Files that stream fast: rows are gathered into chunks, encoded on threads, and written once."""

from h5stream.write.columns import DenseColumn, RaggedColumn, SparseColumn, TextColumn
from h5stream.write.mapper_writer import H5mapperWriter
from h5stream.write.torch_writer import H5torchWriter
from h5stream.write.writer import Writer

__all__ = [
    "DenseColumn",
    "H5mapperWriter",
    "H5torchWriter",
    "RaggedColumn",
    "SparseColumn",
    "TextColumn",
    "Writer",
]
