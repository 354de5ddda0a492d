"""onnx2mzi: from trained networks (ONNX) to pruned coherent photonic chips.

    chip = onnx2mzi.compile("net.onnx", optimize="prune", data="train.npz")
    chip.report["active_fraction"], chip.run(x), chip.save("net_mzi")

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx2mzi.driver.api import Compiled as Compiled
    from onnx2mzi.driver.api import Pipeline as Pipeline
    from onnx2mzi.driver.api import compile as compile
    from onnx2mzi.driver.api import load as load
    from onnx2mzi.driver.api import register_pass as register_pass

__version__ = "0.1.0"

_PUBLIC = ("Compiled", "Pipeline", "compile", "load", "register_pass")
__all__ = ["Compiled", "Pipeline", "__version__", "compile", "load", "register_pass"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module("onnx2mzi.driver.api"), name)
    raise AttributeError(f"module 'onnx2mzi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
