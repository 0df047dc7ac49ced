"""Files to look into and to note things in: rows by number and by id, and states of models."""

from h5stream.exploring.file import Cells, File

__all__ = ["Cells", "File"]
