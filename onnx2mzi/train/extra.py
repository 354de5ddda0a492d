"""The extra `train`: asked for in one place, so that its absence is told in one line."""

from importlib.util import find_spec

from onnx2mzi.errors import UsageError

REMEDY = "pip install 'onnx2mzi[train]'"


def there() -> bool:
    """Whether torch is installed."""
    return find_spec("torch") is not None


def need(where: str) -> None:
    """Raises UsageError, naming what wants it (`where`) and the remedy, if torch is missing."""
    if not there():
        raise UsageError(
            "trains on phases, which needs PyTorch",
            where=where,
            hint=REMEDY,
        )
