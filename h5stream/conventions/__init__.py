"""Files that other libraries wrote: recognised, and said in our own words.

One file and one entry in the table for each convention; other packages publish more. It answers
with fields (`h5stream.fields`) for one file; which rows and bytes those are is found elsewhere, and
nothing here is asked again once a stream runs. Small things are read through h5py on the way:
names, attributes, references, codes of categories.
"""

from h5stream.conventions.choose import Choice, Wanted
from h5stream.conventions.convention import Convention
from h5stream.conventions.published import published_versions
from h5stream.conventions.table import all_conventions, find_convention, recognise

__all__ = [
    "Choice",
    "Convention",
    "Wanted",
    "all_conventions",
    "find_convention",
    "published_versions",
    "recognise",
]
