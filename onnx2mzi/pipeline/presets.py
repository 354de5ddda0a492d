"""What -O means: levels, lists of passes, and the options that the command line hands down."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, replace
from enum import Enum
from typing import Any, cast

from onnx2mzi.errors import UsageError
from onnx2mzi.pipeline.base import Pass
from onnx2mzi.pipeline.options import option_fields
from onnx2mzi.pipeline.registry import Registry, checked_options
from onnx2mzi.pipeline.spec import parse_items
from onnx2mzi.pipeline.stages import missing_names

DEFAULT_LEVEL = 1
LEVELS: dict[int, str] = {
    0: "tile,svd,decompose,place",
    1: "tile,svd,decompose,canonicalize,compact,place",
    2: "tile,svd,decompose,canonicalize,prune,compact,place",
    3: "tile,svd,decompose,canonicalize{trials=8},prune,prune{method=search},"
    "compact,quantize{bits=8 rounding=sequential},place",
}


def optimized(what: str | int, registry: Registry[Pass]) -> tuple[Pass, ...]:
    """The pipeline of `-O WHAT`: a level, or a list of passes that is completed.

    Raises SpecError (a UsageError) for what is neither.
    """
    text = str(what).strip()
    if text.lstrip("-").isdigit():
        level = int(text)
        if level not in LEVELS:
            raise UsageError(
                f"there is no level {text}",
                where="-O",
                hint="levels: 0 textbook, 1 lossless (default), 2 prune, 3 prune and quantize; "
                "or a list of passes",
            )
        return registry.parse(LEVELS[level])
    if not parse_items(text):
        raise UsageError("names no level and no pass", where="-O", hint="for example -O prune")
    return completed(registry.parse(text), registry)


def completed(passes: Sequence[Pass], registry: Registry[Pass]) -> tuple[Pass, ...]:
    """The passes, with the lowering and placing ones that they need inserted."""
    return tuple(
        registry.get(step)() if isinstance(step, str) else step for step in missing_names(passes)
    )


def with_options(
    passes: Sequence[Pass], values: Mapping[str, Any], *, needed: Mapping[str, str]
) -> tuple[Pass, ...]:
    """The passes with `values` in every option of that name that has its default.

    None is no value. A value that no pass takes is a UsageError if `needed` names the option
    (of the command line, say) that it came from.
    """
    changed = list(passes)
    for name, value in values.items():
        if value is None:
            continue
        taken = False
        for at, step in enumerate(changed):
            for field in option_fields(type(step)):
                if field.name == name:
                    taken = True
                    if field.default is not MISSING and getattr(step, name) == field.default:
                        changed[at] = _with(step, name, value)
        if not taken and name in needed:
            raise UsageError(
                f"no pass of this pipeline has the option '{name}'",
                where=needed[name],
                hint=f"the pipeline is: {','.join(step.name for step in passes)}",
            )
    return tuple(changed)


def _with(step: Pass, name: str, value: Any) -> Pass:
    made: Any = step
    changed: Any = checked_options(cast(Pass, replace(made, **{name: value})))
    default = getattr(step, name)
    # A word that is allowed may stand for a member.
    if isinstance(default, Enum):
        changed = replace(changed, **{name: type(default)(value)})
    return cast(Pass, changed)
