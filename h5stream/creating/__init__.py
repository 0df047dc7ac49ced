"""Files made from sources: images in folders, lines of text, tables, whatever a function can load.

`sources` finds them, `loaders` are ready functions that load one, `create` loads many at once and
writes what they give. `features` says by a class what files of a kind hold.
"""

from h5stream.creating.create import Created, create
from h5stream.creating.features import Feature, Features, feature
from h5stream.creating.loaders import (
    class_of_folder,
    decode_image,
    load_audio,
    load_csv,
    load_encoded,
    load_image,
    load_lines,
    load_numpy,
    load_parquet,
)
from h5stream.creating.sources import find_sources

__all__ = [
    "Created",
    "Feature",
    "Features",
    "class_of_folder",
    "create",
    "decode_image",
    "feature",
    "find_sources",
    "load_audio",
    "load_csv",
    "load_encoded",
    "load_image",
    "load_lines",
    "load_numpy",
    "load_parquet",
]
