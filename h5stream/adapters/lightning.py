"""A data module for PyTorch Lightning: loaders for training, validation and test.

Lightning saves the state of a loader in each checkpoint and loads it again, so a run that is
resumed goes on with the next batch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from h5stream.errors import ConfigError
from h5stream.fields import Asked, Split, Subset
from h5stream.loader import Loader
from h5stream.opening import Sources
from h5stream.stream import H5Stream

__all__ = ["HDF5DataModule"]

_PARTS = ("train", "validation", "test")


def _find_lightning() -> Any:
    """Import the package that the user's trainer comes from: there are two of the same code."""
    found = "lightning.pytorch" if "lightning.pytorch" in sys.modules else "pytorch_lightning"
    return importlib.import_module(found)


class HDF5DataModule(_find_lightning().LightningDataModule):  # type: ignore[misc]
    """Stream the rows of HDF5 files into a Lightning trainer.

    Rows for training are shuffled; those for validation and test come in file order, every one
    once, also on several ranks.

    Parameters
    ----------
    sources, fields
        See `H5Stream`.
    splits : Split or mapping
        Which rows are for what: a `Split`, or a mapping from ``"train"``, ``"validation"`` and
        ``"test"`` to what `subset` of `H5Stream` takes: ``{"split": "train"}``, row numbers.
    batch_size : int
        Rows of a batch on each rank.
    num_workers : int
        Of each `Loader`.
    evaluation : mapping, optional
        Arguments of `H5Stream` that differ for validation and test: another `transform` or
        `batch_size`.
    loader_options : mapping, optional
        Of each `Loader`: ``{"pin_memory": True}``.
    **stream_options
        Of `H5Stream`.

    Examples
    --------
    >>> import h5stream as h5s
    >>> data = h5s.adapters.HDF5DataModule(
    ...     h5s.example_file(),
    ...     {"x": "X", "y": "obs[louvain]"},
    ...     splits=h5s.Split(validation=0.2, test=0.1),
    ...     batch_size=50,
    ... )
    >>> len(data.train_dataloader()), len(data.val_dataloader()), len(data.test_dataloader())
    (10, 3, 2)
    """

    def __init__(
        self,
        sources: Sources,
        fields: Mapping[str, Asked] | Sequence[str] | None = None,
        *,
        splits: Split | Mapping[str, Subset],
        batch_size: int,
        num_workers: int = 0,
        evaluation: Mapping[str, Any] | None = None,
        loader_options: Mapping[str, Any] | None = None,
        **stream_options: Any,
    ) -> None:
        super().__init__()
        if "subset" in stream_options:
            raise ConfigError("subset is the business of splits: one subset for each part")
        if not isinstance(splits, Split) and (unknown := splits.keys() - set(_PARTS)):
            raise ConfigError(f"splits are named {_PARTS}, not {sorted(unknown)}")
        self.splits = splits
        self._how: dict[str, Any] = {"sources": sources, "fields": fields, "batch_size": batch_size}
        self._train: dict[str, Any] = {"shuffle": True, **stream_options}
        kept = {k: v for k, v in stream_options.items() if k not in _OF_TRAINING}
        self._evaluation = {"shuffle": False, "uneven": "keep", **kept, **(evaluation or {})}
        self._loading = {"num_workers": num_workers, **(loader_options or {})}

    def train_dataloader(self) -> Loader:
        """Return the loader of the rows for training."""
        return self._loader("train", self._train)

    def val_dataloader(self) -> Loader:
        """Return the loader of the rows for validation."""
        return self._loader("validation", self._evaluation)

    def test_dataloader(self) -> Loader:
        """Return the loader of the rows for test."""
        return self._loader("test", self._evaluation)

    def _loader(self, part: str, options: Mapping[str, Any]) -> Loader:
        subset: Subset
        if isinstance(self.splits, Split) or part in self.splits:
            subset = self.splits[part]
        else:
            raise ConfigError(f"splits have no {part!r}, only {sorted(self.splits)}")
        return Loader(H5Stream(**{**self._how, **options}, subset=subset), **self._loading)


_OF_TRAINING = ("shuffle", "buffer_size", "weights", "rows_per_epoch", "replacement", "uneven")
"""Arguments of `H5Stream` that evaluation does not take over."""
