"""Files of AnnData (.h5ad): a matrix of cells by genes, with annotations of the cells.

Three encodings are read: that of today (``encoding-type`` attributes, categorical groups), that of
0.7 (``obs/__categories``) and the old one, in which ``obs`` and ``obsm`` are compound datasets,
``raw/X`` is ``raw.X``, and categories stand in ``uns/…_categories``. The names of fields are the
same for all.

- ``X``, ``layers/…``, ``obsm/…`` and ``raw/X`` are dense or CSR matrices. CSC ones have no rows to
  stream: small ones are turned into CSR in memory, others refused.
- ``obs/…`` are numbers or text. Categories come as text (or as the numbers that they are), because
  that is what the file shows to its readers; a missing one is `None` or NaN. The column is in
  memory: 16 bytes a row, as rows share the text of their category. ``obs/…/codes`` are the numbers
  of categories: good labels for training, -1 where missing. Over several files they count the
  union of all categories, which `categories` of a stream tells; ``obs/…/file_codes`` are those
  that stand in each file.
- Nullable columns come as numbers, NaN where missing, or as text, `None` where missing. Integers
  that a float cannot hold are refused.
- Columns of ``X``, ``layers/…`` and ``raw/X`` are genes. Files whose ``var_names`` differ are
  refused, unless the option ``genes`` names those that are wanted: they are then the columns, in
  its order, in every file.

By default: X, layers, obsm and obs. ``raw/X``, which has other genes, codes and ``obsp/…`` are
there by name.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from h5stream.columns import Column, Ragged
from h5stream.columns import Sparse as SparseColumn
from h5stream.conventions.nodes import (
    attribute,
    attribute_text,
    choose,
    find,
    find_dataset,
    is_text,
    read_bounded,
    read_text_column,
    read_texts,
    refuse,
)
from h5stream.errors import ConfigError, UnsupportedError
from h5stream.fields import Chosen, Dense, FileSpec, Known, Meaning, Sparse, Vlen
from h5stream.layout.contents import names_in, some

__all__ = ["default_fields", "field_names", "list_categories", "meaning", "recognise"]

_CODES = "/codes"
_FILE_CODES = "/file_codes"
_NUMBERS = "biufc"


def recognise(file: h5py.File) -> bool:
    """Tell whether AnnData wrote the file."""
    obs, var = find(file, "obs"), find(file, "var")
    if obs is None or var is None:
        return False
    if attribute_text(file, "encoding-type") == "anndata":
        return True
    if not ("X" in file or "raw" in file or "raw.X" in file or "layers" in file):
        return False
    if isinstance(obs, h5py.Dataset):
        return obs.dtype.names is not None and len(obs.shape or ()) == 1
    return "_index" in obs.attrs or "column-order" in obs.attrs


def field_names(file: h5py.File) -> list[str]:
    """List the matrices, the columns of obs, and the codes of those that are categories."""
    return [*_default_names(file), *_further_names(file)]


def _default_names(file: h5py.File) -> list[str]:
    matrices = ["X"] if find(file, "X") is not None else []
    return [
        *matrices,
        *_members(file, "layers"),
        *_members(file, "obsm"),
        *(f"obs/{name}" for name in _column_names(file)),
    ]


def _further_names(file: h5py.File) -> list[str]:
    raw = ["raw/X"] if _raw_path(file) else []
    codes = [
        f"obs/{name}{_CODES}"
        for name in _column_names(file)
        if _find_categories(file, name) is not None
    ]
    own = [name.removesuffix(_CODES) + _FILE_CODES for name in codes]
    return [*raw, *codes, *own, *_members(file, "obsp")]


def _members(file: h5py.File, place: str) -> list[str]:
    """List the elements of a group, or the members of a compound dataset."""
    node = find(file, place)
    if isinstance(node, h5py.Group):
        return [f"{place}/{name}" for name in names_in(node) if not _is_table(node, name)]
    names = None if node is None else node.dtype.names
    return [f"{place}/{name}" for name in names or ()]


def _is_table(group: h5py.Group, name: str) -> bool:
    node = find(group, name)
    return node is None or attribute_text(node, "encoding-type") == "dataframe"


def _column_names(file: h5py.File) -> list[str]:
    """List the columns of obs, its index first."""
    obs = find(file, "obs")
    if isinstance(obs, h5py.Dataset):
        return list(obs.dtype.names or ())
    if obs is None:
        return []
    index = attribute_text(obs, "_index")
    ordered = np.asarray(attribute(obs, "column-order", ())).reshape(-1).tolist()
    texts = [name.decode() if isinstance(name, bytes) else str(name) for name in ordered]
    names = [index, *texts] if index else texts
    for name in names:
        if find(obs, name) is None:
            raise refuse(obs, f"names the column {name!r}, but has none")
    rest = [name for name in names_in(obs) if name not in names and not name.startswith("__")]
    return list(dict.fromkeys([*names, *rest]))


def _raw_path(file: h5py.File) -> str | None:
    return next((path for path in ("raw/X", "raw.X") if find(file, path) is not None), None)


def meaning(
    file: h5py.File, name: str, *, alone: bool, options: Mapping[str, Any]
) -> Meaning | None:
    """Say what the codes of a column, or the columns of a matrix, are in this file."""
    if name.startswith("obs/") and name.endswith(_CODES):
        known = _find_categories(file, name.removeprefix("obs/").removesuffix(_CODES))
        return None if known is None else Meaning(categories=tuple(_read_column(known)))
    if alone or not _is_by_gene(name) or options.get("genes") is not None:
        return None
    names = _gene_names(file, name)
    if names is None:
        return None
    text = "\0".join(names).encode()
    return Meaning(columns=hashlib.blake2b(text, digest_size=16).hexdigest())


def _is_by_gene(name: str) -> bool:
    return name in ("X", "raw/X") or name.startswith("layers/")


def _gene_names(file: h5py.File, name: str) -> list[str] | None:
    """Read the names of a matrix's columns, None if the file has none."""
    holders = ("raw/var", "raw.var") if name == "raw/X" else ("var",)
    var = next((found for path in holders if (found := find(file, path)) is not None), None)
    if isinstance(var, h5py.Dataset):
        index = next((n for n in ("index", "_index") if n in (var.dtype.names or ())), None)
        if index is None:
            return None
        texts = read_bounded(var, member=index).tolist()
        return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
    if var is None:
        return None
    names = find(var, attribute_text(var, "_index") or "_index")
    if not isinstance(names, h5py.Dataset):
        return None
    return [str(value) for value in _read_column(names)]


def default_fields(
    file: h5py.File,
    fields: Sequence[str] | None = None,
    *,
    genes: Sequence[str] | None = None,
) -> dict[str, FileSpec]:
    """Say how the fields are laid out.

    Parameters
    ----------
    file : h5py.File
        Written by AnnData.
    fields : sequence of str or None
        Names as ``X``, ``obs/louvain``, ``obs/louvain/codes`` or ``raw/X``; None: X, layers, obsm
        and obs.
    genes : sequence of str or None
        Names of the genes that are the columns of X, layers and raw/X, in order; None: all, as
        they are.

    Raises
    ------
    ConfigError
        If a gene is not there, or there more than once.
    """
    columns = _column_names(file)
    if fields is not None:
        choose(file, "AnnData", fields, field_names(file))
        return {
            name: _with_genes(file, name, _field(file, name, columns), genes) for name in fields
        }
    made: dict[str, FileSpec] = {}
    for name in _default_names(file):
        with contextlib.ExitStack() as stack:
            if name != "X":
                stack.enter_context(contextlib.suppress(UnsupportedError))
            made[name] = _with_genes(file, name, _field(file, name, columns), genes)
    return made


def _with_genes(
    file: h5py.File, name: str, matrix: FileSpec, genes: Sequence[str] | None
) -> FileSpec:
    """Choose the columns of a matrix by the names of its genes."""
    if genes is None or not _is_by_gene(name):
        return matrix
    if isinstance(genes, str) or not all(isinstance(gene, str) for gene in genes):
        raise ConfigError(f"genes must be a list of names, not {genes!r:.80}")
    known = _gene_names(file, name)
    if known is None:
        raise ConfigError(f"{file.filename}: {name!r} has no names of genes, so none can be chosen")
    places = {gene: number for number, gene in enumerate(known)}
    missing = [gene for gene in genes if gene not in places]
    if missing:
        raise ConfigError(
            f"{file.filename}: {len(missing)} of {len(genes)} genes are no columns of {name!r}: "
            f"{some(missing)}"
        )
    counts = Counter(known)
    twice = [gene for gene in genes if counts[gene] > 1]
    if twice or len(set(genes)) < len(genes):
        where = f"columns of {name!r}" if twice else "genes that are asked for"
        repeated = twice or [gene for gene, times in Counter(genes).items() if times > 1]
        raise ConfigError(
            f"{file.filename}: {where} have a name more than once: {some(repeated)}; make names "
            "unique, adata.var_names_make_unique(), or ask for others"
        )
    return Chosen(matrix, tuple(places[gene] for gene in genes))


def _field(file: h5py.File, name: str, columns: Sequence[str]) -> FileSpec:
    place, _, rest = name.partition("/")
    if place == "obs":
        if rest in columns:
            return _obs(file, rest)
        return Dense(_codes_path(file, rest.removesuffix(_CODES).removesuffix(_FILE_CODES)))
    if name == "raw/X":
        return _matrix(file, _raw_path(file) or name)
    holder = find(file, place)
    if rest and isinstance(holder, h5py.Dataset):
        return Dense(f"{place}[{rest}]")
    return _matrix(file, name)


def _matrix(file: h5py.File, path: str) -> FileSpec:
    node = find(file, path)
    if isinstance(node, h5py.Dataset):
        if not node.shape:
            raise refuse(node, "is a scalar, but should have a row for each cell")
        return Dense(path)
    if node is None:
        raise refuse(file, f"has no {path!r}")
    kind = attribute_text(node, "encoding-type") or attribute_text(node, "h5sparse_format") or ""
    if kind.startswith("csr"):
        return Sparse(path, n_columns=_stated_shape(node)[1])
    if kind.startswith("csc") and _is_small(node):
        return Known(_turn_round(node))
    raise UnsupportedError(
        f"{file.filename}: {path!r} is stored as {kind or 'a group'}, which has no rows to stream; "
        "write it as CSR or dense, or choose other fields"
    )


_MOST_TURNED = 2**24
"""Elements, rows and columns of a CSC matrix that is turned into CSR in memory."""


def _is_small(node: h5py.Group) -> bool:
    return max(find_dataset(node, "data", 1).size, *_stated_shape(node)) <= _MOST_TURNED


def _turn_round(node: h5py.Group) -> SparseColumn:
    """Read a CSC matrix as a CSR one."""
    n_rows, n_columns = _stated_shape(node)
    data, rows, indptr = (
        read_bounded(find_dataset(node, name, 1)) for name in ("data", "indices", "indptr")
    )
    ends = indptr.astype(np.int64)
    lengths = ends[1:] - ends[:-1]
    fits = len(indptr) == n_columns + 1 and data.shape == rows.shape
    if not fits or indptr[0] != 0 or (lengths < 0).any() or indptr[-1] != len(data):
        raise refuse(
            node, f"has offsets that do not fit {len(data)} elements in {n_columns} columns"
        )
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < n_rows:
        raise refuse(node, f"has indices outside its {n_rows} rows")
    order = np.argsort(rows, kind="stable")
    column = np.repeat(np.arange(n_columns, dtype=np.int64), lengths)[order]
    counts = np.bincount(rows, minlength=n_rows)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return SparseColumn(data[order], column, starts, (n_rows, n_columns))


def _stated_shape(node: h5py.Group) -> tuple[int, int]:
    for name in ("shape", "h5sparse_shape"):
        shape = np.asarray(attribute(node, name, ()))
        if shape.shape == (2,) and shape.dtype.kind in "iu" and int(shape.min()) >= 0:
            return int(shape[0]), int(shape[1])
    raise refuse(node, "has no attribute `shape` of two numbers")


def _find_categories(file: h5py.File, name: str) -> h5py.Dataset | None:
    """Find the categories of a column of obs, None if it is none of them."""
    obs = find(file, "obs")
    if isinstance(obs, h5py.Dataset):
        found = find(file, f"uns/{name}_categories")
        return found if obs.dtype[name].kind in "iu" else None
    column = find(file, f"obs/{name}")
    if isinstance(column, h5py.Group):
        is_categorical = attribute_text(column, "encoding-type") == "categorical"
        return find_dataset(column, "categories", 1) if is_categorical else None
    if column is None or "categories" not in column.attrs:
        return None
    reference = attribute(column, "categories")
    found = file[reference] if isinstance(reference, h5py.Reference) and reference else None
    return found if isinstance(found, h5py.Dataset) else find(file, f"obs/__categories/{name}")


def list_categories(file: h5py.File, name: str) -> list[Any]:
    """List the categories of a column of obs; its codes count them from 0.

    Parameters
    ----------
    file : h5py.File
        Written by AnnData.
    name : str
        As ``"obs/louvain"``.

    Raises
    ------
    ConfigError
        If it is no column of categories.

    Examples
    --------
    >>> import h5stream as h5s
    >>> with h5py.File(h5s.example_file()) as file:
    ...     list_categories(file, "obs/phase")
    ['G1', 'G2M', 'S']
    """
    column = name.removeprefix("obs/").removesuffix(_CODES)
    if column not in _column_names(file):
        raise ConfigError(f"{file.filename}: obs has no column {column!r}")
    categories = _find_categories(file, column)
    if categories is None:
        raise ConfigError(f"{file.filename}: {name!r} is no column of categories")
    return list(_read_column(categories))


def _codes_path(file: h5py.File, name: str) -> str:
    if isinstance(find(file, "obs"), h5py.Dataset):
        return f"obs[{name}]"
    is_group = isinstance(find(file, f"obs/{name}"), h5py.Group)
    return f"obs/{name}{_CODES}" if is_group else f"obs/{name}"


def _obs(file: h5py.File, name: str) -> FileSpec:
    categories = _find_categories(file, name)
    if categories is not None:
        return Known(_look_up(file, name, categories))
    obs = find(file, "obs")
    if isinstance(obs, h5py.Dataset):
        return Dense(f"obs[{name}]", dtype="U" if obs.dtype[name].kind == "S" else None)
    column = find(file, f"obs/{name}")
    if isinstance(column, h5py.Dataset):
        if is_text(column, of_any_length=True):
            return Vlen(f"obs/{name}")
        return Dense(f"obs/{name}", dtype="U" if is_text(column) else None)
    if column is None:
        raise refuse(file, f"has no column obs/{name}")
    return Known(_read_nullable(column))


def _read_column(dataset: h5py.Dataset) -> Column:
    if is_text(dataset):
        return read_text_column(read_texts(dataset))
    if dataset.shape is None or len(dataset.shape) != 1 or dataset.dtype.kind not in _NUMBERS:
        raise refuse(dataset, f"has elements of {dataset.dtype} in shape {dataset.shape}")
    return read_bounded(dataset)


def _read_codes(file: h5py.File, name: str) -> np.ndarray:
    obs = find(file, "obs")
    if isinstance(obs, h5py.Dataset):
        return read_bounded(obs, member=name)
    return read_bounded(find_dataset(file, _codes_path(file, name), 1))


def _look_up(file: h5py.File, name: str, categories: h5py.Dataset) -> Column:
    """Replace codes by their categories; rows share the text of theirs."""
    codes, known = _read_codes(file, name), _read_column(categories)
    if codes.dtype.kind not in "iu" or codes.ndim != 1:
        raise refuse(file, f"has categories for obs/{name}, but its codes are {codes.dtype}")
    codes = codes.astype(np.int64)
    wrong = np.flatnonzero((codes < -1) | (codes >= len(known)))
    if len(wrong):
        raise refuse(
            categories,
            f"has {len(known)} categories, but row {wrong[0]} of obs/{name} has the code "
            f"{codes[wrong[0]]}",
        )
    if isinstance(known, Ragged) and (codes < 0).any():
        return np.array([*known, None], object)[codes]
    if isinstance(known, Ragged):
        starts, lengths = np.append(known.offsets[:-1], 0), np.append(known.lengths, 0)
        return Ragged.placed(known.values, starts[codes], lengths[codes], text=True)
    assert isinstance(known, np.ndarray)
    missing = codes < 0
    return _with_missing(known.take(np.where(missing, 0, codes)) if len(known) else codes, missing)


def _with_missing(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Put NaN where values are missing, which makes floats of integers."""
    if not missing.any():
        return values
    kept = values if values.dtype.kind in "fc" else values.astype(np.float64)
    return np.where(missing, kept.dtype.type(np.nan), kept)


def _read_nullable(column: h5py.Group) -> Column:
    kind = attribute_text(column, "encoding-type") or "a group"
    if not kind.startswith("nullable-"):
        raise UnsupportedError(
            f"{column.file.filename}: {column.name!r} is stored as {kind}, which is no column"
        )
    values, missing = find_dataset(column, "values", 1), find_dataset(column, "mask", 1)
    if values.shape != missing.shape:
        raise refuse(column, f"has {values.shape[0]} values, but a mask of {missing.shape[0]}")
    masked = read_bounded(missing).astype(bool)
    if is_text(values):
        texts = read_texts(values)
        if not masked.any():
            return read_text_column(texts)
        pairs = zip(texts, masked.tolist(), strict=True)
        return np.array([None if gone else text for text, gone in pairs], object)
    found = _read_column(values)
    assert isinstance(found, np.ndarray)
    if found.dtype.kind in "iu" and masked.any() and _is_large(found[~masked]):
        raise UnsupportedError(
            f"{column.file.filename}: {column.name!r} has integers beyond 2**53 beside missing "
            f"values, which floats with NaN cannot hold; stream its values and its mask: "
            f"{column.name.strip('/')}/values and {column.name.strip('/')}/mask as plain datasets, "
            "with convention=None"
        )
    return _with_missing(found, masked)


def _is_large(values: np.ndarray) -> bool:
    return bool(len(values)) and (int(values.max()) > 2**53 or int(values.min()) < -(2**53))
