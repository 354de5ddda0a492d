"""Which pass may follow which, and what is inserted where a list of passes has gaps."""

from collections.abc import Iterator, Sequence

from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.base import Pass

ORDER: tuple[Stage, ...] = tuple(Stage)

# What takes a program from a stage to the next, in order.
LOWERING: dict[Stage, tuple[str, ...]] = {
    Stage.LINEAR: ("tile", "svd", "decompose"),
    Stage.MESH: ("place",),
}
# What comes before the first pass of a list that changes meshes: it makes the least to change.
CLEAN_UP: dict[Stage, str] = {Stage.MESH: "canonicalize"}
# Behind this pass there are copies of layers, which no other may make unlike each other.
COPIES = "unroll"
# What comes behind pruning: neighbours meet where MZIs are gone. Rounding and places come last.
TIDY_UP = "compact"
LEAVES_GAPS = ("prune",)
# What moves phases must not come behind this pass.
ROUNDS = "quantize"
COMES_LAST = ("trim", "quantize", COPIES, "place")


def check_order(
    passes: Sequence[Pass],
    start: Stage = Stage.LINEAR,
    *,
    rounded: bool = False,
    copied: bool = False,
) -> Stage:
    """The stage behind the last pass. Raises UsageError where a pass does not fit its place.

    `rounded` says whether phases are on codes before the first pass, `copied` whether layers have
    copies.
    """
    stage, before = start, ""
    for step in passes:
        if rounded and step.moves_phases:
            raise UsageError(
                f"{step.name} moves phases, but they are on a driver's codes already",
                where="pipeline",
                hint=f"put {ROUNDS} behind all passes that move phases",
            )
        rounded = rounded or step.name == ROUNDS
        if copied and step.stage_in is step.stage_out is Stage.MESH:
            raise UsageError(
                f"{step.name} changes meshes, but {COPIES} before it made copies of them",
                where="pipeline",
                hint=f"put {COPIES} behind all passes that change meshes",
            )
        copied = copied or step.name == COPIES
        if step.stage_in is not stage:
            raise UsageError(
                f"{step.name} takes a program of stage {step.stage_in}, "
                f"but {before or 'at the start'} it is {stage}",
                where="pipeline",
                hint=_order_hint(step, stage),
            )
        stage, before = step.stage_out, f"after {step.name}"
    return stage


def _order_hint(step: Pass, stage: Stage) -> str:
    if ORDER.index(step.stage_in) < ORDER.index(stage):
        return f"put {step.name} before the pass that makes it {stage}"
    missing = ", ".join(
        name
        for between in ORDER[ORDER.index(stage) : ORDER.index(step.stage_in)]
        for name in LOWERING[between]
    )
    return f"{missing} must come before {step.name}; -O inserts them"


def missing_names(passes: Sequence[Pass]) -> Iterator[str | Pass]:
    """The given passes with the names of those that must be inserted between them.

    Lowerings are inserted where a pass takes a later stage, and `place` at the end; a lowering
    that the list has (with other options, say) is not inserted a second time, but what comes
    before it is. `canonicalize` goes before the first pass that changes meshes, and `compact`
    behind the last that prunes them.
    """
    present = {step.name for step in passes}
    done: set[str] = set()
    stage = Stage.LINEAR
    for step in passes:
        while ORDER.index(stage) < ORDER.index(step.stage_in):
            yield from _inserted(LOWERING[stage], present, done)
            stage = ORDER[ORDER.index(stage) + 1]
        lowering = LOWERING.get(stage, ())
        if step.name in lowering:
            yield from _inserted(lowering[: lowering.index(step.name)], present, done)
        clean_up = CLEAN_UP.get(step.stage_in)
        if step.stage_in is stage and step.stage_out is stage and clean_up:
            yield from _inserted((clean_up,), present, done)
        if step.name in COMES_LAST:
            yield from _tidied(present, done)
        yield step
        done.add(step.name)
        stage = step.stage_out
    while stage in LOWERING:
        if stage is Stage.MESH:
            yield from _tidied(present, done)
        yield from _inserted(LOWERING[stage], present, done)
        stage = ORDER[ORDER.index(stage) + 1]


def _tidied(present: set[str], done: set[str]) -> Iterator[str]:
    if not done.isdisjoint(LEAVES_GAPS):
        yield from _inserted((TIDY_UP,), present, done)


def _inserted(names: Sequence[str], present: set[str], done: set[str]) -> Iterator[str]:
    for name in names:
        if name not in present and name not in done:
            done.add(name)
            yield name
