"""Which rows a table of layers has: matrices of one node that are alike share one."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

Row = Mapping[str, Any]

# Groups of a convolution, or matrices of a stack, up to which each has its own row.
MOST_ROWS = 8
_ADDED = ("tiles", "mzis_reference", "mzis", "phases_reference", "phases_active", "power_mw")


def used_often(layers: Iterable[Row]) -> bool:
    """Whether one inference uses a layer more than once, or it is not known how often."""
    return any(layer.get("uses", 1) != 1 for layer in layers)


def gathered(layers: Iterable[Row]) -> list[Row]:
    """The rows; those of one node, if there are many and their matrices are alike, as one.

    Counts and powers are added up (None if one is unknown), the error is the largest.
    """
    found: list[Row] = []
    for _, group in groupby(layers, key=lambda row: (row["node"] or row["name"], _shape(row))):
        rows = list(group)
        found += [_added(rows)] if len(rows) > MOST_ROWS else rows
    return found


def _shape(row: Row) -> tuple[int, int]:
    return row["rows"], row["columns"]


def _added(rows: Sequence[Row]) -> Row:
    stem = rows[0]["name"].partition("__")[0]
    merged = {**rows[0], "name": f"{len(rows)} of {stem}"}
    for key in _ADDED:
        values = [row[key] for row in rows if key in row]
        if values:
            merged[key] = None if None in values else sum(values)
    errors = [row["max_rel_error"] for row in rows if row.get("max_rel_error") is not None]
    return merged | {"max_rel_error": max(errors, default=None)}
