"""Running a pipeline: order checked first, every program verified, every promise kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Protocol

from onnx2mzi.emulate.transfer import layer_matrix
from onnx2mzi.errors import VerificationError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.backend import PassRecord
from onnx2mzi.pipeline.base import Context, Exact, Pass
from onnx2mzi.pipeline.census import Census, layer_census
from onnx2mzi.pipeline.contracts import (
    Computed,
    check_effect,
    check_program,
    check_promise,
    check_same_layers,
)
from onnx2mzi.pipeline.kept import run_kept
from onnx2mzi.pipeline.registry import Registry, checked_options
from onnx2mzi.pipeline.spec import show
from onnx2mzi.pipeline.stages import check_order

# The pass behind which the chip is the textbook's, and the one behind which it is the least
# that computes the same.
REFERENCE_AFTER = "decompose"
EXACT_AFTER = "canonicalize"


@dataclass(frozen=True, slots=True)
class Step:
    """A pass at its place: the first of `count` has `index` 0; `text` is its canonical text."""

    index: int
    count: int
    name: str
    text: str


class Instrument(Protocol):
    """Something that watches: called before and behind every pass."""

    def before(self, step: Step, program: Program) -> None:
        """`step` is about to run."""

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        """`step` has run, and kept its promise."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished program, its layers' matrices, and what was counted on the way.

    `lossless` is True if every pass promised to be exact.
    """

    program: Program
    matrices: dict[str, Matrix] = field(repr=False)
    passes: tuple[PassRecord, ...]
    reference: dict[str, Census]
    exact: dict[str, Census]
    lossless: bool


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes in order. `str()` is the text that `parse` takes back."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str, registry: Registry[Pass]) -> "Pipeline":
        """The pipeline that the text names; nothing is inserted. Raises SpecError."""
        return cls(registry.parse(text))

    def __str__(self) -> str:
        return ",".join(show(step) for step in self.passes)

    def check(
        self, start: Stage = Stage.LINEAR, *, rounded: bool = False, copied: bool = False
    ) -> Stage:
        """The final stage. Raises UsageError for a wrong order or an illegal option."""
        for step in self.passes:
            checked_options(step)
        return check_order(self.passes, start, rounded=rounded, copied=copied)

    def run(
        self, program: Program, context: Context, instruments: Sequence[Instrument] = ()
    ) -> Result:
        """Run all passes on a valid program.

        Raises UsageError before anything runs if the order is wrong, VerificationError if a
        pass breaks its promise or leaves an invalid program.
        """
        self.check(
            program.stage,
            rounded=program.drive_code is not None,
            copied=any(layer.copy_of for layer in program.layers),
        )
        context = _around(program, context)
        matrices = _Matrices()
        records: list[PassRecord] = []
        reference: dict[str, Census] = {}
        exact: dict[str, Census] = {}
        lossless = True
        for index, step in enumerate(self.passes):
            at = Step(index, len(self.passes), step.name, show(step))
            for instrument in instruments:
                instrument.before(at, program)
            lossless = lossless and isinstance(step.effect(program), Exact)
            program, seconds = run_pass(step, program, context, matrices.of)
            context = _around(program, context)
            matrices.forget_others(program)
            record = PassRecord(at.text, seconds, censuses(program, context))
            records.append(record)
            if step.name == REFERENCE_AFTER:
                reference = record.censuses
            if step.name == EXACT_AFTER:
                exact = record.censuses
            for instrument in instruments:
                instrument.after(at, program, record)
        return Result(program, matrices.of(program), tuple(records), reference, exact, lossless)


def run_pass(
    step: Pass,
    program: Program,
    context: Context,
    matrices: Callable[[Program], dict[str, Matrix]],
) -> tuple[Program, float]:
    """The program behind one pass, verified and with its history, and the pass's seconds."""
    text = show(step)
    effect = step.effect(program)
    check_promise(effect, context.network, text)
    start = perf_counter()
    after = run_kept(
        lambda given, point: step.run(given, replace(context, point=point)),
        text,
        program,
        context.kept,
        context.point,
    )
    seconds = perf_counter() - start
    if after.stage is not step.stage_out:
        raise VerificationError(
            f"left a program of stage {after.stage}, it promised {step.stage_out}",
            where=f"pass {text}",
            hint="this is a bug of the pass",
        )
    after = replace(after, history=(*program.history, text))
    check_program(after, text)
    check_same_layers(program, after, text)
    check_effect(
        effect,
        Computed(program, matrices(program)),
        Computed(after, matrices(after)),
        network=None if context.network is None else context.network.on(after.host),
        text=text,
    )
    return after, seconds


def _around(program: Program, context: Context) -> Context:
    """The context with the network in the program's host: passes may have trained what is
    electronic, before this compile too."""
    network = context.network
    return context if network is None else replace(context, network=network.on(program.host))


def censuses(program: Program, context: Context) -> dict[str, Census]:
    """Census of every layer by name; empty before there are meshes."""
    if program.stage is Stage.LINEAR:
        return {}
    p_pi_mw = context.technology.p_pi_mw
    return {layer.name: layer_census(layer, p_pi_mw) for layer in program.layers}


class _Matrices:
    """The layers' matrices, computed once for each tuple of grids."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Matrix]] = {}

    def of(self, program: Program) -> dict[str, Matrix]:
        found = {}
        for layer in program.layers:
            # Keyed by identity; the tuple is held, so that its id is not given to another.
            key: object = layer.grids or layer.weight
            if id(key) not in self._known:
                self._known[id(key)] = (key, layer_matrix(layer))
            found[layer.name] = self._known[id(key)][1]
        return found

    def forget_others(self, program: Program) -> None:
        """Keep this program's only."""
        now = {id(layer.grids or layer.weight) for layer in program.layers}
        self._known = {key: value for key, value in self._known.items() if key in now}
