"""HOW OFTEN rows are wanted: from what a user says to a weight for each.

Pure: columns are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from h5stream.columns import Column
from h5stream.errors import ConfigError
from h5stream.fields.resolve import Asked
from h5stream.fields.subset import Columns, labels_of

__all__ = ["Balanced", "Weights", "resolve_weights"]

_SHOWN = 8


@dataclass(frozen=True)
class Balanced:
    """All values of a column come equally often: what `weights` takes.

    Parameters
    ----------
    by : str, FieldSpec, or tuple of them
        The column: the name of a field, the path of a dataset, or a field with one number or string
        a row, such as ``Origin("group")``. Of several columns, all combinations that there are.
    shares : mapping or None
        Value -> how often it comes, in proportion; values that are not named do not come. None:
        equally often.

    Examples
    --------
    >>> import h5stream as h5s
    >>> stream = h5s.H5Stream(
    ...     h5s.example_file(),
    ...     fields={"x": "X", "cell_type": "obs/bulk_labels"},
    ...     shuffle=True,
    ...     weights=h5s.Balanced("cell_type", {"Dendritic": 1, "CD19+ B": 3}),
    ...     rows_per_epoch=400,
    ... )
    >>> kinds = [row["cell_type"] for row in stream]
    >>> len(kinds), set(kinds) == {"CD19+ B", "Dendritic"}, 290 < kinds.count("CD19+ B") < 310
    (400, True, True)
    """

    by: Asked | tuple[Asked, ...]
    shares: Mapping[Any, float] | None = None


Weights = (
    Sequence[float]
    | np.ndarray
    | str
    | Balanced
    | Mapping[str, Mapping[Any, float]]
    | Callable[[Mapping[str, Column]], Any]
    | None
)
"""What `resolve_weights` understands."""


def resolve_weights(
    weights: Weights, rows: np.ndarray | None, n_rows: int, read: Callable[[Asked], Column]
) -> np.ndarray:
    """Turn what was asked for into a weight for each row that is streamed.

    Parameters
    ----------
    weights : Weights
        One of

        - numbers: one for each row of all files, as `subset` counts them;
        - the name of a small column that holds them;
        - `Balanced`: all values of a column equally often, or in given shares;
        - a mapping from one name of a small column to the weights of its values:
          ``{"label": {"cat": 1, "dog": 10}}``;
        - a function that takes all columns, read when they are asked for by name, and returns
          numbers: ``lambda columns: 1 / columns["length"]``;
        - None: all rows alike.
    rows : numpy.ndarray or None
        int64: the rows that are streamed; None: all.
    n_rows : int
        Rows of all files together.
    read : callable
        Name or spec -> that column of all rows.

    Returns
    -------
    numpy.ndarray
        float64.

    Raises
    ------
    ConfigError
        If there are not as many as rows, or one is below zero or not finite, or all are zero.

    Examples
    --------
    >>> columns = {"label": np.array(["a", "b", "b", "b"])}
    >>> resolve_weights(Balanced("label"), None, 4, columns.__getitem__)
    array([1.        , 0.33333333, 0.33333333, 0.33333333])
    """

    def chosen(column: np.ndarray) -> np.ndarray:
        return column if rows is None else column[rows]

    if weights is None:
        return np.ones(n_rows if rows is None else len(rows))
    if isinstance(weights, Balanced):
        return _balanced(weights, n_rows, read, chosen)
    found: Any = weights
    if isinstance(weights, Mapping):
        found = _of_values(weights, n_rows, read)
    elif isinstance(weights, str):
        found = labels_of(read(weights), weights, n_rows)
    elif callable(weights):
        found = weights(Columns(read, n_rows))
    return chosen(_checked(found, n_rows))


def _checked(weights: Any, n_rows: int) -> np.ndarray:
    try:
        array = np.asarray(weights)
    except ValueError:
        array = np.zeros((), object)
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise ConfigError(
            f"weights are numbers, one a row, not {weights!r:.80}; or the name of a column, "
            'Balanced("label"), {"label": {value: weight}}, or a function of columns'
        )
    if len(array) != n_rows:
        raise ConfigError(f"there are {len(array)} weights, but all files have {n_rows} rows")
    array = array.astype(np.float64)
    wrong = np.flatnonzero(~((array >= 0) & np.isfinite(array)))
    if len(wrong):
        raise ConfigError(
            f"row {wrong[0]} has the weight {array[wrong[0]]}; weights are finite, and not below "
            "zero"
        )
    return array


def _of_values(
    weights: Mapping[str, Any], n_rows: int, read: Callable[[Asked], Column]
) -> np.ndarray:
    if len(weights) != 1 or not isinstance(next(iter(weights.values())), Mapping):
        raise ConfigError(
            f'a mapping of weights goes from one column to those of its values, {{"label": '
            f"{{value: weight}}}}, not {weights!r:.80}"
        )
    ((name, table),) = weights.items()
    values, which = np.unique(labels_of(read(name), name, n_rows), return_inverse=True)
    return np.asarray(_shares_of(name, values.tolist(), table, needed=True))[which]


def _shares_of(name: str, values: list[Any], table: Mapping[Any, float], *, needed: bool) -> Any:
    """Look up the share of each value; those that are not named have none."""
    unknown = [value for value in table if value not in values]
    if unknown:
        raise ConfigError(
            f"no row has {name!r} = {unknown[0]!r}; its values are "
            f"{', '.join(map(repr, values[:_SHOWN]))}{', …' if len(values) > _SHOWN else ''}"
        )
    lacking = [value for value in values if value not in table]
    if needed and lacking:
        raise ConfigError(
            f"the weights of {name!r} say nothing of {lacking[0]!r}; give it one, or zero"
        )
    return [table.get(value, 0.0) for value in values]


def _balanced(
    balanced: Balanced,
    n_rows: int,
    read: Callable[[Asked], Column],
    chosen: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Share out what each value gets among its rows."""
    several = isinstance(balanced.by, tuple)
    names = balanced.by if isinstance(balanced.by, tuple) else (balanced.by,)
    name = ", ".join(map(str, names))
    parts = [chosen(labels_of(read(each), str(each), n_rows)) for each in names]
    numbers = np.zeros(len(parts[0]), np.int64)
    values: list[Any] = [()]
    for part in parts:
        own, which = np.unique(part, return_inverse=True)
        found, numbers = np.unique(numbers * len(own) + which, return_inverse=True)
        pairs = (divmod(each, len(own)) for each in found.tolist())
        values = [(*values[first], own[second].item()) for first, second in pairs]
    known = values if several else [value for (value,) in values]
    shares = np.ones(len(known))
    if balanced.shares is not None:
        shares = _shares_of(name, known, balanced.shares, needed=False)
        shares = _checked(shares, len(known))
    return (shares / np.bincount(numbers))[numbers]
