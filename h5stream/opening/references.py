"""Layouts out of kerchunk's references, which know no versions and may say less than is needed.

1. The references say which arrays there are; where their chunks lie is read for wanted ones only.
2. The file says the rest: element types, fill values, its version. Where the references say the
   same of a dataset, their chunk table is taken; it is held to h5py as any other.
3. What references do not hold, as chunks that they have inside or codecs that HDF5 does not know,
   is scanned in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from h5stream.conventions import Choice, Wanted
from h5stream.errors import ConfigError, DecodeError, LayoutError
from h5stream.fetch import Access
from h5stream.layout import DatasetLayout, FileLayout, PartialFile, Source, Storage, scan_file
from h5stream.layout.kerchunk import References
from h5stream.layout.names import find_named
from h5stream.layout.tables import check_inside
from h5stream.opening.scanned import ScannedFile, check_row_size, choose_routes, names_in

__all__ = ["scan_referenced"]


def scan_referenced(
    references: References, what: str, name: str, wanted: Wanted, access: Access
) -> ScannedFile:
    """Return what references and the file that they lead to say of some fields.

    Parameters
    ----------
    references : References
        They lead to one file.
    what : str
        What messages call them.
    name : str
        The file that is wanted.
    wanted : Wanted
        The fields.
    access : Access
        The way to the file.

    Raises
    ------
    ConfigError
        If the references lead to another file, or have no such dataset.
    LayoutError
        If they do not fit the file.
    """
    source = access.source(name)
    choice = _choose(references.arrays, wanted, source)
    said: dict[str, DatasetLayout] = {}
    for each in names_in(choice):
        array = find_named(references.arrays, each)
        if array is None:
            raise ConfigError(
                f"{what}: dataset {each!r} of {name} was not indexed; it has "
                f"{', '.join(list(references.arrays)[:8])}: run `h5stream index` again"
            )
        said[each] = array
    located = references.locate(list({array.path[1:]: None for array in said.values()}))
    for file in {array.file for array in located.values()} - {""}:
        if not _is_same(file, name, access):
            raise ConfigError(f"{what}: there is no layout of {name}; it has {file}")
    arrays = {each: located[array.path[1:]] for each, array in said.items()}
    layout = _ask_file(arrays, what, source)
    check_row_size(layout)
    if isinstance(source, PartialFile):
        source.look_up_few()  # the check of a few chunks looks up no others
    try:
        return ScannedFile(layout, choose_routes(layout, source), choice)
    except DecodeError:  # what the references say of it is wrong, or the file is damaged
        whole = scan_file(source.name, names_in(choice), source=source)
        return ScannedFile(whole, choose_routes(whole, source), choice)


def _choose(arrays: Mapping[str, DatasetLayout], wanted: Wanted, source: Source) -> Choice:
    """Choose fields by what the arrays say; by the file, if they do not say enough."""
    plain = {name: array for name, array in arrays.items() if not array.dtype.hasobject}
    choice = wanted.choose_saved(plain, None, complete=True)
    return source.run(wanted.choose) if choice is None else choice


def _is_same(file: str, name: str, access: Access) -> bool:
    """Tell whether a path or URL in references is that of a file."""
    if access.is_remote(name):
        return file == name or access.name(file) == name
    return file.removeprefix("file://") == name


def _ask_file(arrays: Mapping[str, DatasetLayout], what: str, source: Source) -> FileLayout:
    """Put together what the references and the file say."""
    seen = scan_file(source.name, list(arrays), tables=False, sizes=False, source=source)
    held: dict[str, DatasetLayout] = {}
    for name, array in arrays.items():
        dataset = seen.datasets[name]
        if array.shape != dataset.shape[: len(array.shape)]:
            raise LayoutError(
                f"{what}: {name!r} has shape {array.shape} there, and {dataset.shape} in "
                f"{source.name}: they were written for another version of it; write them again"
            )
        if _says_the_same(array, dataset):
            held[name] = _with_table(dataset, array, seen)
    rest = [name for name in arrays if name not in held]
    scanned = scan_file(source.name, rest, source=source) if rest else seen
    if scanned.fingerprints[source.name] != seen.fingerprints[source.name]:
        raise LayoutError(f"{source.name}: changed while it was scanned; wait until it is written")
    datasets = {name: held.get(name) or scanned.datasets[name] for name in arrays}
    return FileLayout(source.name, datasets, {**seen.fingerprints, **scanned.fingerprints})


def _says_the_same(array: DatasetLayout, dataset: DatasetLayout) -> bool:
    """Tell whether a dataset's chunks can be taken from references."""
    chunked = dataset.storage is Storage.CHUNKED and array.table is not None
    unlike = array.indirect or dataset.indirect or dataset.refused or dataset.vlen
    same = (array.dtype, array.shape, array.chunks) == (
        dataset.dtype,
        dataset.shape,
        dataset.chunks,
    )
    return chunked and same and not unlike


def _with_table(dataset: DatasetLayout, array: DatasetLayout, file: FileLayout) -> DatasetLayout:
    """Give a dataset the chunks of an array, whose filters may be fewer: no checksums."""
    table = array.table
    if table is not None:
        size_bytes = file.fingerprints[dataset.file].size_bytes
        check_inside(dataset, table.byte_offset, table.size, size_bytes)
    same = _numbers(array) == _numbers(dataset)
    return replace(
        dataset,
        table=table,
        filters=dataset.filters if same else array.filters,
        stored_bytes=array.stored_bytes,
    )


def _numbers(layout: DatasetLayout) -> Sequence[int]:
    return [spec.id for spec in layout.filters]
