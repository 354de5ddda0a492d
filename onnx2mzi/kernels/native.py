"""Which kernels run: the compiled extension or numpy. The only place that decides."""

import functools
import logging
import os
from types import ModuleType

_LOG = logging.getLogger("onnx2mzi.kernels")


@functools.cache
def _extension() -> ModuleType | None:
    try:
        import onnx2mzi.kernels._native as extension  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        _LOG.warning(
            "the compiled kernels are not installed; numpy takes their place and is much slower "
            "(install a C++17 compiler and reinstall onnx2mzi)"
        )
        return None
    module: ModuleType = extension
    return module


def extension() -> ModuleType | None:
    """The compiled kernels; None when they are missing or ONNX2MZI_KERNELS=numpy asks for numpy.

    The first call without the extension logs one warning.
    """
    if os.environ.get("ONNX2MZI_KERNELS", "").strip().lower() == "numpy":
        return None
    return _extension()


def native_available() -> bool:
    """Whether the compiled kernels run (installed and not switched off)."""
    return extension() is not None
