"""Reads remote files: the only room that knows fsspec.

`filesystems` makes file systems out of URLs and options, transports ask them for one range once
(`transport`, `http`, `s3`, `gcs`), `file` makes reliable reads of that, and `connections` keeps
what the files of a process share.
"""

from h5stream.fetch.remote.connections import Connections

__all__ = ["Connections"]
