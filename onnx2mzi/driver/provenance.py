"""What a manifest says about a chip beside its files: command, versions, inputs. No times."""

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from onnx2mzi import __version__
from onnx2mzi.driver.again import is_program
from onnx2mzi.driver.options import Options
from onnx2mzi.driver.output import sha256
from onnx2mzi.pipeline.manager import Pipeline

PACKAGES = ("numpy", "onnx", "onnxruntime", "gdstk")


def about(model: str | Path | bytes, options: Options, pipeline: Pipeline) -> dict[str, Any]:
    """Versions, seed, pipeline and the hashes of everything that was read."""
    read = {"model": model, "data": options.data, "test": options.test, "tech": options.tech}
    if options.measured is not None:
        read["measured"] = options.measured
    if is_program(model):
        read["arrays"] = Path(model).with_suffix(".npz")
    return {
        "command": options.command,
        "versions": versions(),
        "seed": options.seed,
        "pipeline": str(pipeline),
        "inputs": {
            what: {"name": _name(given), "sha256": digest}
            for what, given in read.items()
            if (digest := _digest(given)) is not None
        },
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what is written."""
    found = {"onnx2mzi": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def _digest(given: object) -> str | None:
    if isinstance(given, bytes):
        return hashlib.sha256(given).hexdigest()
    if isinstance(given, (str, Path)) and Path(given).is_file():
        return sha256(Path(given))
    return None


def _name(given: object) -> str:
    return Path(given).name if isinstance(given, (str, Path)) else "bytes"
