"""`unroll`: a chip of its own for every position at which a layer is used.

A convolution is one matrix that all positions use in turn. Unrolled, copies of its meshes work
side by side: one inference uses each once, and everything is counted, placed, drawn and driven
as often. The copies are layers of their own; `copy_of` says of which. They are alike, and the
host has one matrix for all: where copies are emulated with imperfections, the first stands for
the others.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import LinearLayer, Program, Stage
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.pipeline.census import layer_census

ALL = "all"
# More copies of a layer, or MZIs of all copies together, than this are no chip, and would not
# fit into files that are of use.
MOST_COPIES = 4096
MOST_MZIS = 5_000_000


def unrolled(layer: LinearLayer) -> tuple[LinearLayer, ...]:
    """The layer and its copies, `layer.uses` in all, each used once."""
    count = layer.uses or 1
    digits = len(str(count - 1))
    return tuple(
        replace(
            layer,
            name=f"{layer.name}__copy{k:0{digits}}" if k else layer.name,
            operand=replace(layer.operand, turn=(k, count)),
            uses=1,
            copy_of=layer.name if k else "",
        )
        for k in range(count)
    )


@dataclass(frozen=True, slots=True)
class Unroll(Pass):
    """A chip of its own for every position at which a layer is used (see --unroll)."""

    name: ClassVar[str] = "unroll"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    layers: tuple[str, ...] = option((ALL,), "layers or nodes by name, or all")

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        wanted = set(self._wanted(program, context))
        mzis = 0
        for layer in program.layers:
            count = (layer.uses or 1) if layer.name in wanted else 1
            if count > MOST_COPIES:
                raise FitError(
                    f"layer '{layer.name}' is used {count} times, more than {MOST_COPIES} copies",
                    where="unroll",
                    hint="unroll other layers, or give a smaller --input-shape",
                )
            mzis += count * layer_census(layer, p_pi_mw=1.0).mzis
        if mzis > MOST_MZIS and wanted:
            raise FitError(
                f"unrolled, the chip has {mzis} MZIs, more than {MOST_MZIS}",
                where="unroll",
                hint="unroll fewer layers, prune first (-O prune), or give a smaller --input-shape",
            )
        layers: list[LinearLayer] = []
        for layer in program.layers:
            layers.extend(unrolled(layer) if layer.name in wanted else (layer,))
        if len(layers) > len(program.layers):
            context.log(f"unroll: {len(layers) - len(program.layers)} copies, {mzis} MZIs in all")
        return replace(program, layers=tuple(layers))

    def _wanted(self, program: Program, context: Context) -> Iterator[str]:
        """Names of layers to unroll. Raises UsageError for a word that names none of them."""
        known = {layer.name: layer for layer in program.layers}
        for word in self.layers:
            found = [layer for layer in program.layers if word == ALL or word in _names(layer)]
            if not found:
                near = get_close_matches(word, known, 1) or list(known)[:1]
                hint = f"did you mean '{near[0]}'?" if near else ""
                raise UsageError(f"no layer is called '{word}'", where="unroll", hint=hint)
            for layer in found:
                if layer.uses is None and word != ALL:
                    raise UsageError(
                        f"it is not known how often layer '{layer.name}' is used",
                        where="unroll",
                        hint="give all dimensions with --input-shape (steps in time stay one chip)",
                    )
                if layer.uses is None:
                    context.log(f"unroll: how often '{layer.name}' is used is unknown; one chip")
                elif layer.uses > 1:
                    yield layer.name


def _names(layer: LinearLayer) -> set[str]:
    """What a user may call the layer: by itself, or with all matrices of its node."""
    return {layer.name, layer.name.partition("__")[0], layer.loc.node}
