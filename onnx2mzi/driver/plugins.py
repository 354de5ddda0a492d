"""The registries of this installation: built-in passes and back ends, plug-ins, technologies."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeVar

from onnx2mzi import backends, passes
from onnx2mzi.errors import UsageError
from onnx2mzi.pipeline.backend import Backend
from onnx2mzi.pipeline.base import Pass
from onnx2mzi.pipeline.registry import Registry
from onnx2mzi.tech import DEFAULT_TECHNOLOGY, Technology, load_technology, technology_names

# A registry of classes holds their abstract base.
PASSES: Registry[Pass] = Registry("pass", Pass, "onnx2mzi.passes", passes.TABLE)  # type: ignore[type-abstract]
BACKENDS: Registry[Backend] = Registry(
    "back end",
    Backend,  # type: ignore[type-abstract]
    "onnx2mzi.backends",
    backends.TABLE,
)
TECHNOLOGIES = "onnx2mzi.technologies"

P = TypeVar("P", bound=type[Pass])


def register_pass(cls: P) -> P:
    """Decorator: make a pass of a user's script usable by its name in this process."""
    PASSES.register(cls)
    return cls


def technology_plugins() -> list[str]:
    """Names of the technologies that installed plug-ins bring."""
    return sorted(point.name for point in entry_points(group=TECHNOLOGIES))


def technology(what: str | Path | Technology | None) -> Technology:
    """A built-in technology, a plug-in's, or one in a TOML file; the default for None.

    A plug-in's entry point is a Technology or a function without arguments that makes one.
    Raises UsageError for an unknown name, InputError for a file that is refused.
    """
    if isinstance(what, Technology):
        return what
    if what is None:
        return load_technology(DEFAULT_TECHNOLOGY)
    points = [point for point in entry_points(group=TECHNOLOGIES) if point.name == str(what)]
    rivals = [point.dist.name if point.dist else point.value for point in points]
    if str(what) in technology_names():
        rivals.insert(0, "onnx2mzi")
    if len(rivals) > 1:
        raise UsageError(
            f"technology '{what}' is there {len(rivals)} times: from {' and '.join(rivals)}",
            where="--tech",
            hint="rename or uninstall one of them",
        )
    if not points:
        return load_technology(what)
    loaded = points[0].load()
    made = loaded() if callable(loaded) else loaded
    if not isinstance(made, Technology):
        raise UsageError(f"technology '{what}' of {rivals[0]} is no Technology", where="--tech")
    return made
