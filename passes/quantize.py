"""`quantize`: every heater is set to a code that its driver has.

Rounding `nearest` moves every heater to the nearest code. `sequential` rounds the thetas and
attenuators of a real layer's tile one by one and lets those still free make up for it (see
`passes.rounding`), in the metric of the layer's inputs where there are data. `mixed` gives
layers that matter more bits and others fewer (see `passes.bits`). Attenuators may become fixed
couplers of powers of two (see `passes.taps`); with `sequential` thetas make up for that as well.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.transfer import layer_matrix
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import LinearLayer, Program, Stage
from onnx2mzi.passes.bits import Rounder, fewest, heaters, mixed_layers
from onnx2mzi.passes.canonicalize import drawing_rules
from onnx2mzi.passes.code_error import worst_layer_error
from onnx2mzi.passes.codes import Rounding, rounded_layer
from onnx2mzi.passes.drawing import DrawingRules
from onnx2mzi.passes.finetune import Tuning, distance, kept, too_much, tuned
from onnx2mzi.passes.taps import AIMED, tapped_grid
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.base import Bounded, BoundedDrop, Context, Effect, Pass, option

# What errors of training name.
TRAINED = "quantize{rounding=trained}"


def _relative(moved: Matrix, before: Matrix) -> float:
    whole = float(np.linalg.norm(before))
    return float(np.linalg.norm(moved - before)) / whole if whole > 0 else 0.0


class Sigma(StrEnum):
    """What attenuators are."""

    CODES = "codes"
    POWERS = "power-of-two"


@dataclass(frozen=True, slots=True)
class Quantize(Pass):
    """Set every active phase to a code of a b-bit driver."""

    name: ClassVar[str] = "quantize"
    stage_in: ClassVar[Stage] = Stage.MESH
    stage_out: ClassVar[Stage] = Stage.MESH

    bits: int = option(8, "resolution of each heater's driver", unit="bit", low=1, high=16)
    law: CodeLaw = option(
        CodeLaw.PHASE,
        "what is uniform in the code: the phase, or the voltage (phase goes with its square)",
    )
    rounding: Rounding = option(
        Rounding.NEAREST,
        "nearest code; sequential: phases still free make up for those rounded; trained: by "
        "gradients through the codes (extra train, --data)",
    )
    sigma: Sigma = option(
        Sigma.CODES, "attenuators: heaters on codes, or fixed couplers of 1, 1/2, 1/4, ..."
    )
    mixed: bool = option(
        False, "bits a layer by what it does to the outputs; `bits` is then the mean of heaters"
    )
    epochs: float | None = option(
        None, "trained: passes through the data; none: 6, more of few samples", low=0.0
    )
    lr: float = option(2e-3, "trained: peak rate of the phases", unit="rad", low=1e-9)
    max_drop: float = option(
        0.05, "trained: accuracy that may be lost (no labels: changed answers)", low=0.0, high=1.0
    )
    time_limit: float | None = option(
        None,
        "trained: ends so long after the start of the compile, with the phases as they are then",
        unit="s",
        low=0.0,
    )

    @property
    def code(self) -> DriveCode:
        """The driver that the options describe."""
        return DriveCode(self.bits, self.law)

    def effect(self, program: Program) -> Effect:
        if self.rounding is Rounding.TRAINED:
            return BoundedDrop(self.max_drop)
        code = DriveCode(fewest(self.bits), self.law) if self.mixed else self.code
        taps = 0.0
        if self.sigma is Sigma.POWERS:
            taps = AIMED if self.rounding is Rounding.SEQUENTIAL else 1.0
        errors = (worst_layer_error(x, code, taps=taps) for x in program.layers)
        return Bounded(max(errors, default=0.0))

    def run(self, program: Program, context: Context) -> Program:
        rules = drawing_rules(context)
        if self.mixed and self.rounding is Rounding.TRAINED:
            raise UsageError(
                "training knows one number of bits for all layers",
                where="quantize{mixed=true rounding=trained}",
                hint="take rounding=sequential",
            )
        given = asked = program
        if self.sigma is Sigma.POWERS:
            program = self._tapped(program, context, rules)
        if self.rounding is Rounding.TRAINED:
            tuning = Tuning(
                where=TRAINED,
                epochs=self.epochs,
                lr=self.lr,
                code=self.code,
                deadline=None if self.time_limit is None else context.begun + self.time_limit,
            )
            program = asked = tuned(program, context, tuning)
        known: dict[str, Matrix] = {}
        if context.network is not None and (self.mixed or self.rounding is Rounding.SEQUENTIAL):
            known = dict(context.network.layer_inputs())
        # A layer that no data reach is rounded for all vectors.
        known = {name: x for name, x in known.items() if x.any()}

        def on_codes(k: int, bits: int) -> LinearLayer:
            layer = program.layers[k]
            inputs = known.get(layer.name, np.eye(layer.weight.shape[1]))
            code = DriveCode(bits, self.law)
            made = rounded_layer(layer, code, rules, self.rounding, inputs, asked=asked.layers[k])
            # It may have had one of its own, from a mixed program.
            return replace(made, drive_code=None)

        if self.mixed:
            return self._mixed(program, context, known, on_codes, asked)
        layers = []
        for done in range(len(program.layers)):
            context.progress("quantize", done, len(program.layers))
            layers.append(on_codes(done, self.bits))
        made = replace(program, layers=tuple(layers), drive_code=self.code)
        if self.rounding is Rounding.TRAINED:
            self._hold(made, given, context)
        return made

    def _hold(self, made: Program, given: Program, context: Context) -> None:
        assert context.network is not None
        lost = distance(made, context.network)
        if not kept(lost, self.max_drop):
            was = distance(given, context.network)
            hint = "give more bits, a lower lr, or a larger max_drop"
            raise too_much(lost, self.max_drop, was, TRAINED, hint)

    def _tapped(self, program: Program, context: Context, rules: DrawingRules) -> Program:
        if rules.passive is Passive.NONE:
            raise UsageError(
                "fixed couplers are passive phases, which are not allowed here",
                where="quantize{sigma=power-of-two}",
                hint="allow them: --passive common",
            )
        layers = tuple(
            replace(x, grids=tuple(tapped_grid(grid, rules) for grid in x.grids))
            for x in program.layers
        )
        pairs = list(zip(layers, program.layers, strict=True))
        errors = ((x.name, _relative(layer_matrix(x), layer_matrix(y))) for x, y in pairs)
        context.log(
            "quantize: singular values as powers of two; error of matrices by that: "
            + ", ".join(f"{name} {error:.1%}" for name, error in errors)
        )
        return replace(program, layers=layers)

    def _mixed(
        self,
        program: Program,
        context: Context,
        known: dict[str, Matrix],
        on_codes: Rounder,
        asked: Program,
    ) -> Program:
        layers, bits, uniform, mixed = mixed_layers(
            program, context.technology, context.network, known, self.code, on_codes, asked
        )
        counts = [heaters(layer) for layer in program.layers]
        mean = float(np.dot(bits, counts)) / max(sum(counts), 1)
        each = ", ".join(f"{x.name} {b}" for x, b in zip(layers, bits, strict=True))
        context.log(
            f"quantize: bits a layer: {each}; {mean:.2f} bits a heater on average; error "
            f"{mixed:.2%}, with {self.bits} bits everywhere {uniform:.2%}"
        )
        return replace(program, layers=layers, drive_code=self.code)
