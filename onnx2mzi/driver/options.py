"""What a user can ask of a compile, and the pipeline that follows from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Stage
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.base import Pass
from onnx2mzi.pipeline.kept import Kept
from onnx2mzi.pipeline.manager import Instrument, Pipeline
from onnx2mzi.pipeline.presets import DEFAULT_LEVEL, completed, optimized, with_options
from onnx2mzi.tech import Technology

Data = str | Path | Mapping[str, np.ndarray]
Optimize = str | int | Pass | Pipeline | Sequence[str | Pass]

DEFAULT_PORTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything that decides what a compile makes.

    `optimize` is a level, a list of passes (text, or objects) that is completed, or a whole
    `Pipeline`; `passes` is the text of a whole pipeline and takes its place. `max_drop` and
    `budget` are fractions, `time_limit` seconds. With `timing` the report holds seconds, and two
    runs are no longer the same bytes; the number of `workers` (tiles at a time) changes nothing.
    `measured` is a table of a made chip's errors (see driver.measured).
    `command` is what was typed, for the manifest. Whatever is None is left to the defaults of
    passes and technology.
    """

    optimize: Optimize = DEFAULT_LEVEL
    passes: str | None = None
    tech: str | Path | Technology | None = None
    ports: int = DEFAULT_PORTS
    mesh: str | None = None
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    only: Sequence[str] = ()
    exclude: Sequence[str] = ()
    unroll: Sequence[str] = ()
    broken: Sequence[str] = ()
    data: Data | None = None
    test: Data | None = None
    measured: str | Path | None = None
    passive: str | Passive = Passive.COMMON
    budget: float | None = None
    max_drop: float | None = None
    time_limit: float | None = None
    strict: bool = False
    seed: int = 0
    workers: int = 1
    timing: bool = False
    command: str = ""

    def __post_init__(self) -> None:
        # One name is a sequence of letters otherwise.
        for field_name in ("only", "exclude", "unroll", "broken"):
            value = getattr(self, field_name)
            names = (value,) if isinstance(value, str) else tuple(value)
            object.__setattr__(self, field_name, names)


@dataclass(frozen=True, slots=True)
class Ears:
    """Who listens: `log` takes a sentence, `progress` a count, `watch` the pipeline's steps.

    `kept` takes and gives finished work (see driver.resume).
    """

    log: Callable[[str], None] = lambda message: None
    progress: Callable[[str, int, int], None] = lambda what, done, total: None
    watch: tuple[Instrument, ...] = ()
    kept: Kept | None = None


def pipeline_of(options: Options) -> Pipeline:
    """The whole pipeline, its options settled and its order checked. Raises UsageError."""
    passes = with_options(
        _passes(options),
        {
            "mesh": options.mesh,
            "budget": options.budget,
            "max_drop": options.max_drop,
            "time_limit": options.time_limit,
        },
        needed={"mesh": "--mesh", "budget": "--budget", "time_limit": "--time-limit"},
    )
    if options.broken:
        passes = _working_around(passes, options)
    pipeline = Pipeline(_unrolling(passes, options) if options.unroll else passes)
    # A whole pipeline may go on with a program; whether it does is known when that is read.
    whole = options.passes is not None or isinstance(options.optimize, Pipeline)
    first = pipeline.passes[0].stage_in if whole and pipeline.passes else Stage.LINEAR
    pipeline.check(first)
    return pipeline


def _working_around(passes: tuple[Pass, ...], options: Options) -> tuple[Pass, ...]:
    """The passes with `broken` behind all that moves MZIs, before phases are rounded."""
    if any(step.name == "broken" for step in passes):
        raise UsageError(
            "the pipeline says itself what is broken", where="--broken", hint="broken{ids=...}"
        )
    step: Any = PASSES.get("broken")
    last = ("quantize", "unroll", "place")
    at = next((k for k, step in enumerate(passes) if step.name in last), len(passes))
    return (*passes[:at], step(ids=tuple(options.broken)), *passes[at:])


def _unrolling(passes: tuple[Pass, ...], options: Options) -> tuple[Pass, ...]:
    """The passes with `unroll` before the chip is placed, behind all that works on one copy."""
    whole = options.passes is not None or isinstance(options.optimize, Pipeline)
    if whole or any(step.name == "unroll" for step in passes):
        raise UsageError(
            "the pipeline says itself what is unrolled", where="--unroll", hint="unroll{layers=...}"
        )
    step: Any = PASSES.get("unroll")
    at = next((k for k, step in enumerate(passes) if step.name == "place"), len(passes))
    return (*passes[:at], step(layers=tuple(options.unroll)), *passes[at:])


def _passes(options: Options) -> tuple[Pass, ...]:
    if options.passes is not None:
        if str(options.optimize) != str(DEFAULT_LEVEL):
            raise UsageError(
                "--passes is the whole pipeline already", where="-O", hint="give one of the two"
            )
        return PASSES.parse(options.passes)
    match options.optimize:
        case Pipeline(passes=passes):
            return passes
        case bool():
            raise UsageError("is True or False, not a level or passes", where="optimize")
        case str() | int():
            return optimized(options.optimize, PASSES)
        case Pass():
            return completed([options.optimize], PASSES)
        case _:
            given: list[Pass] = []
            for step in options.optimize:
                given.extend([step] if isinstance(step, Pass) else PASSES.parse(step))
            return completed(given, PASSES)


def passive_of(options: Options) -> Passive:
    """The choice of passive phases. Raises UsageError for another word."""
    try:
        return Passive(options.passive)
    except ValueError:
        words = ", ".join(choice.value for choice in Passive)
        raise UsageError(f"'{options.passive}' is none of {words}", where="--passive") from None


def check_numbers(options: Options) -> None:
    """Raises UsageError for numbers that make no sense."""
    if options.ports < 2:
        raise UsageError(f"a chip of {options.ports} ports", where="--ports", hint="at least 2")
    for where, value in (("--budget", options.budget), ("--max-drop", options.max_drop)):
        if value is not None and not 0 <= value <= 1:
            raise UsageError(f"{value:g} is not between 0 and 1", where=where)
    if options.workers < 1:
        raise UsageError(f"{options.workers} workers", where="--workers", hint="at least 1")
    if options.seed < 0:
        raise UsageError(f"{options.seed} is negative", where="--seed")
