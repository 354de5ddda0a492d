"""KLayout's Python module, imported when it is used: it is an extra (`check`)."""

from pathlib import Path
from typing import Any

from onnx2mzi.errors import InputError, UsageError


def klayout_module(name: str) -> Any:
    """`klayout.db` and the like. Raises UsageError with the remedy where it is not installed."""
    try:
        from importlib import import_module

        return import_module(f"klayout.{name}")
    except ImportError:
        raise UsageError(
            "design rules and the layout's circuit need KLayout's Python module",
            where="check",
            hint='pip install "onnx2mzi[check]", or pip install klayout',
        ) from None


def read_layout(path: Path) -> Any:
    """The `klayout.db.Layout` of a GDS file with one top cell. Raises InputError for others."""
    layout = klayout_module("db").Layout()
    try:
        layout.read(str(path))
        layout.top_cell()
    except RuntimeError as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    if layout.top_cell() is None:
        raise InputError("has no top cell", where=str(path))
    return layout
