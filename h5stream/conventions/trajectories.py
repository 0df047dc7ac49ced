"""Files with one group or one dataset for each sample, numbered by their names.

Robomimic's are groups ``data/demo_0`` with ``actions``, ``obs/…`` and so on; ManiSkill's lie at the
root, ``traj_0``. In the simplest files, each sample is a dataset at the root, ``trajectory_0``.
Samples come in natural order: 2 before 10.

- Fields are named as in the sample: ``actions``, ``obs/image``; a sample that is a dataset itself
  is named as what its name begins with (``trajectory``), or ``data``. Those that only some samples
  have are left out, which `omitted` tells.
- Attributes of the samples are fields as well, if all have them: labels. Long ones, as robomimic's
  ``model_file``, are left out by default, and are there by name.
- A list of samples as robomimic's ``mask/train`` is a field of booleans, by name.
- Datasets that differ in more than their length come flattened, beside their shapes:
  ``image`` and ``image/shape``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from h5stream.conventions.nodes import attribute, choose, find, read_texts, refuse
from h5stream.errors import ConfigError
from h5stream.fields import FileSpec, Given, Grouped
from h5stream.layout.contents import identity, list_paths, names_in
from h5stream.layout.names import natural_key

__all__ = ["default_fields", "field_names", "omitted", "recognise"]

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d+)")
_HOLDERS = ("data/", "")
"""Where samples lie."""
_SHAPE = "/shape"
_MASKS = "mask"
_FEW = 16
"""Fewer numbered datasets of one shape, without attributes, may as well be columns x1 and x2."""
_LONG_BYTES = 256
"""Attributes that are longer are no labels."""


@dataclass(frozen=True, eq=False)
class _Samples:
    """The samples of a file.

    Parameters
    ----------
    prefix : str
        Where they lie: ``"data/"``, or nothing for the root.
    stem : str
        What their names begin with.
    members : list of str
        Their names, in natural order.
    nodes : list
        Themselves.
    """

    prefix: str
    stem: str
    members: list[str]
    nodes: list[Any]

    @property
    def pattern(self) -> str:
        return f"{self.prefix}{self.stem}*"

    @property
    def are_groups(self) -> bool:
        return isinstance(self.nodes[0], h5py.Group)

    @property
    def own_name(self) -> str:
        """Name of the field, if a sample is a dataset."""
        return self.stem.rstrip("_-. ") or "data"


def recognise(file: h5py.File) -> bool:
    """Tell whether samples lie one by one."""
    return _find_samples(file) is not None


def _find_samples(file: h5py.File) -> _Samples | None:
    for prefix in _HOLDERS:
        holder = find(file, prefix.rstrip("/")) if prefix else file
        if isinstance(holder, h5py.Group) and (found := _numbered(holder, prefix)):
            return found
    return None


def _numbered(holder: h5py.Group, prefix: str) -> _Samples | None:
    """Find objects of one kind with one stem and numbers; lists of samples may lie beside them."""
    names = [name for name in names_in(holder) if prefix or name != _MASKS]
    matches = [_NUMBERED.fullmatch(name) for name in names]
    stems = {None if match is None else match["stem"] for match in matches}
    if len(stems) != 1 or None in stems or (stems == {""} and len(names) < len(holder)):
        return None
    members = sorted(names, key=natural_key)
    nodes = [find(holder, name) for name in members]
    kinds = {type(node) for node in nodes}
    if kinds == {h5py.Group}:
        fits = any(True for _ in _leaves(nodes[0]))
    else:
        fits = kinds == {h5py.Dataset} and _are_samples(nodes)
    return _Samples(prefix, str(stems.pop()), members, nodes) if fits else None


def _are_samples(datasets: Sequence[Any]) -> bool:
    """Tell numbered samples from numbered columns."""
    shapes = {dataset.shape for dataset in datasets}
    if None in shapes or len({len(shape) for shape in shapes}) > 1:
        return False
    has_labels = len(datasets) > 1 and all(len(dataset.attrs) for dataset in datasets)
    return len(datasets) >= _FEW or len(shapes) > 1 or has_labels


def _leaves(group: Any) -> list[str]:
    """List the datasets below a group by their paths; hard links, each object once."""
    found: dict[Any, str] = {}
    for path in list_paths(group):
        node = find(group, path)
        if isinstance(node, h5py.Dataset):
            found.setdefault(identity(node), path)
    return sorted(found.values(), key=natural_key)


def _common_leaves(samples: _Samples) -> list[str]:
    """List the datasets that all samples have; only the first one's are opened."""
    leaves = _leaves(samples.nodes[0])
    for node in samples.nodes[1:]:
        has = set(list_paths(node))
        leaves = [name for name in leaves if name in has]
    return leaves


def _common_attributes(samples: _Samples) -> list[str]:
    names = list(samples.nodes[0].attrs)
    for node in samples.nodes[1:]:
        if not names:
            break
        has = set(node.attrs)
        names = [name for name in names if name in has]
    return names


def _is_label(node: Any, name: str) -> bool:
    value = attribute(node, name)
    if isinstance(value, str | bytes):
        return len(value) <= _LONG_BYTES
    array = np.asarray(value)
    return array.dtype.kind in "biufc" and array.nbytes <= _LONG_BYTES


def _mask_names(file: h5py.File) -> list[str]:
    masks = find(file, _MASKS)
    if not isinstance(masks, h5py.Group):
        return []
    return [f"{_MASKS}/{name}" for name in masks if isinstance(find(masks, name), h5py.Dataset)]


def _data_fields(samples: _Samples) -> dict[str, FileSpec]:
    if samples.are_groups:
        return {name: Grouped(f"{samples.pattern}/{name}") for name in _common_leaves(samples)}
    name, shapes = samples.own_name, [node.shape for node in samples.nodes]
    if len({shape[1:] for shape in shapes}) < 2:
        return {name: Grouped(samples.pattern)}
    flat = Grouped(samples.pattern, flat=True)
    by_name = dict(zip(samples.members, np.array(shapes, np.int64), strict=True))
    return {name: flat, name + _SHAPE: Given(by_name, by="name")}


def _attribute_fields(samples: _Samples, taken: Sequence[str]) -> dict[str, FileSpec]:
    """Name fields as the attributes, or ``attrs/…`` where a dataset has that name."""
    return {
        f"attrs/{name}" if name in taken else name: Grouped(samples.pattern, attribute=name)
        for name in _common_attributes(samples)
    }


def _mask(file: h5py.File, samples: _Samples, name: str) -> FileSpec:
    listed = read_texts(file[name])
    chosen: dict[str, Any] = dict.fromkeys(samples.members, np.False_)
    for member in listed:
        if member not in chosen:
            raise refuse(
                file[name], f"lists {member!r}, but {samples.pattern!r} has no such sample"
            )
        chosen[member] = np.True_
    return Given(chosen, by="name")


def _require_samples(file: h5py.File) -> _Samples:
    samples = _find_samples(file)
    if samples is None:
        raise refuse(file, "has no numbered groups or datasets that could be samples")
    return samples


def field_names(file: h5py.File) -> list[str]:
    """List the datasets and attributes that all samples have, and the lists of samples."""
    samples = _require_samples(file)
    data = _data_fields(samples)
    return [*data, *_attribute_fields(samples, list(data)), *_mask_names(file)]


def omitted(file: h5py.File, fields: Sequence[str] | None) -> list[str]:
    """Say which datasets only some samples have: no field, for then row i would mean another."""
    if fields is not None:
        return []
    samples = _require_samples(file)
    if not samples.are_groups:
        return []
    paths = [list_paths(node) for node in samples.nodes]
    counts = Counter(path for of_sample in paths for path in of_sample)
    holders = {
        path: node
        for node, of_sample in zip(samples.nodes, paths, strict=True)
        for path in of_sample
        if counts[path] < len(paths)
    }
    return [
        f"{file.filename}: {name!r} is in {counts[name]} of {len(paths)} samples only; ask for "
        f'Grouped("{samples.pattern}/{name}") with missing="drop"'
        for name, holder in holders.items()
        if isinstance(find(holder, name), h5py.Dataset)
    ]


def default_fields(file: h5py.File, fields: Sequence[str] | None = None) -> dict[str, FileSpec]:
    """Say how the fields are laid out.

    Parameters
    ----------
    file : h5py.File
        With one group or dataset for each sample.
    fields : sequence of str or None
        Names of datasets and attributes; None: all datasets, and attributes that are labels.
    """
    samples = _require_samples(file)
    made = _data_fields(samples)
    attributes = _attribute_fields(samples, list(made))
    if fields is None:
        if not made:
            raise ConfigError(
                f"{file.filename}: no dataset is in all {len(samples.nodes)} samples "
                f'{samples.pattern!r}; name fields by Grouped("{samples.pattern}/…") and pass '
                'missing="drop" to leave out samples that lack one'
            )
        first = samples.nodes[0]
        labels = {
            name: spec
            for name, spec in attributes.items()
            if isinstance(spec, Grouped) and _is_label(first, str(spec.attribute))
        }
        return made | labels
    masks = _mask_names(file)
    made |= attributes
    choose(file, "trajectories", fields, [*made, *masks])
    return {name: made[name] if name in made else _mask(file, samples, name) for name in fields}
