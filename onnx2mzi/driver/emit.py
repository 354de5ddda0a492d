"""`--emit`: which back ends write, in words and in the grammar of passes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onnx2mzi import backends
from onnx2mzi.driver.plugins import BACKENDS
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.pipeline.backend import Backend, chosen_layers, placed_mzis
from onnx2mzi.pipeline.instruments import Watcher
from onnx2mzi.pipeline.manager import Pipeline, Step
from onnx2mzi.pipeline.stages import COPIES, LOWERING, ORDER

# Commas between items, not those within quotes or braces.
_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|\{[^}]*\}|[^,{"])+')
_LAYERS = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*=(.*)", re.DOTALL)


def backends_of(emit: str | None) -> tuple[Backend, ...]:
    """The back ends that `--emit` lists; if it is None all that come unasked.

    Raises UsageError for a text that names none, SpecError for another mistake in it.
    """
    if emit is not None and not emit.strip():
        raise UsageError(
            "is empty", where="--emit", hint=f"name some of {','.join(BACKENDS.table)}"
        )
    usual = ",".join(name for name in BACKENDS.table if name not in backends.ON_REQUEST)
    return BACKENDS.parse(usual if emit is None else written_out(emit))


def check_writers(writers: Sequence[Backend], stage: Stage | None) -> None:
    """Raises UsageError for back ends that need a module that is not installed, or more than a
    program of `stage` (None: not known yet)."""
    for writer in writers:
        writer.check_installed()
    if stage is None:
        return
    able = [w.name for w in writers if ORDER.index(w.stage_in) <= ORDER.index(stage)]
    for writer in writers:
        if writer.name not in able:
            lowering = LOWERING[ORDER[ORDER.index(writer.stage_in) - 1]][-1]
            other = f", or write the others with --emit {','.join(able)}" if able else ""
            raise UsageError(
                f"needs a program of stage {writer.stage_in}, and the pipeline ends with one of "
                f"stage {stage}",
                where=f"--emit {writer.name}",
                hint=f"add {lowering} to the passes{other}",
            )


def final_stage(pipeline: Pipeline, *, again: bool) -> Stage | None:
    """The stage that a pipeline ends with; None for a program (`again`) that no pass changes.

    Raises UsageError for passes in an order that a model does not bear.
    """
    if not again:
        return pipeline.check()
    return pipeline.passes[-1].stage_out if pipeline.passes else None


@dataclass(slots=True)
class LayersAreThere(Watcher):
    """Raises UsageError before the first pass if a back end chooses a layer that is not there.

    Not with `unroll`, which makes layers.
    """

    writers: Sequence[Backend]
    pipeline: Pipeline

    def before(self, step: Step, program: Program) -> None:
        if step.index == 0 and all(each.name != COPIES for each in self.pipeline.passes):
            for writer in self.writers:
                chosen_layers(program, writer.chosen(), writer.name)


def written_out(emit: str) -> str:
    """`gds=fc1,fc2,report` as `gds{layers="fc1","fc2"},report`.

    Layers end with the first name of a back end; one of that name is written in quotes.
    """
    items = _ITEM.findall(emit)
    if not any(_LAYERS.fullmatch(item) for item in items):
        return emit
    names = BACKENDS.names()
    made: list[tuple[str, list[str] | None]] = []
    for item in items:
        found = _LAYERS.fullmatch(item)
        layers = made[-1][1] if made else None
        if found:
            made.append((found[1], [found[2]]))
        elif layers is not None and item.partition("{")[0].strip() not in names:
            layers.append(item)
        else:
            made.append((item, None))
    return ",".join(
        item if layers is None else f"{item}{{layers={','.join(map(_quoted, layers))}}}"
        for item, layers in made
    )


def _quoted(layer: str) -> str:
    text = layer.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def left_out(program: Program, writers: Sequence[Backend]) -> dict[str, str]:
    """Back ends that a chip of this size does without unless they are asked for, and why."""
    mzis = placed_mzis(program)
    return {
        writer.name: f"{mzis:,} MZIs are more than {writer.most_mzis:,}; "
        f"--emit {writer.name} writes it all, --emit {writer.name}=LAYER,... some layers"
        for writer in writers
        if writer.most_mzis is not None and mzis > writer.most_mzis
    }
