"""`compensate`: heaters are driven so that they make up for each other's heat.

What the layers compute is not touched: phases stay, only the drives that make them move (see
`emulate.compensate_chip`), and the lengths of guides that make passive ones
(`emulate.heat_lengths`). With data the network's answers are kept, without them every layer's
outputs for random inputs.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from onnx2mzi.emulate.compensate_chip import Caution, compensate_chip
from onnx2mzi.emulate.heat_aim import aim_of
from onnx2mzi.emulate.heat_layout import heat_layout, smallest_die, with_drives
from onnx2mzi.emulate.heat_lengths import no_lengths, passive_lengths, with_lengths
from onnx2mzi.emulate.heat_task import task_of
from onnx2mzi.emulate.heated import heat_response
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.pipeline.base import Context, Effect, Exact, Pass, option
from onnx2mzi.tech import Detection

# The response of segments to heaters is held as a dense matrix: 8 bytes an entry.
MOST_PAIRS = 250_000_000


@dataclass(frozen=True, slots=True)
class Compensate(Pass):
    """Drives that undo thermal crosstalk, where the network feels it; phases stay as they are."""

    name: ClassVar[str] = "compensate"
    stage_in: ClassVar[Stage] = Stage.PLACED
    stage_out: ClassVar[Stage] = Stage.PLACED

    steps: int = option(6, "steps with heat in the loop", low=1, high=100)
    samples: int = option(400, "of the data for fitting", low=1)
    random: float = option(
        0.03, "relative random error of the thermal model to be ready for", low=0.0, high=1.0
    )
    systematic: float = option(
        0.03, "relative error that all of the thermal model shares", low=0.0, high=1.0
    )
    lengths: bool = option(
        True, "passive phases are drawn as long as they must be on the warm chip"
    )

    def effect(self, program: Program) -> Effect:
        return Exact()

    def run(self, program: Program, context: Context) -> Program:
        technology = context.technology
        try:
            layout = heat_layout(program, technology)
        except ValueError as error:
            raise UsageError(str(error), where="compensate") from None
        count = len(layout.heaters)
        if count == 0:
            context.log("compensate: there are no heaters")
            return program
        pairs = count * layout.push.shape[1]
        if pairs > MOST_PAIRS:
            raise FitError(
                f"{count:,} heaters and {layout.push.shape[1]:,} pieces of guide are too many",
                where="compensate",
                hint=f"at most {MOST_PAIRS:,} pairs, these are {pairs:,}; prune more, or go "
                "without compensation on a stack with undercut heaters",
            )
        assert program.placement is not None
        model = heat_model(stack=technology.thermal_stack)
        die = smallest_die(program.placement, technology)
        response = heat_response(layout=layout, model=model, die=die)
        aim = aim_of(
            program,
            layout,
            task_of(context.network, samples=self.samples),
            recalibrated=technology.detection is Detection.IQ,
            seed=context.seed,
        )
        lengths = passive_lengths(program, layout) if self.lengths else no_lengths(layout)
        made = compensate_chip(
            aim=aim,
            layout=layout,
            response=response,
            lengths=lengths,
            caution=Caution(random=self.random, systematic=self.systematic),
            steps=self.steps,
            tell=lambda step, loss: context.progress("compensate", step, self.steps),
        )
        before, after = layout.heaters.drive_rad.sum(), made.drive_rad.sum()
        context.log(
            f"compensate: loss by heat {made.loss_before:.3g} -> {made.loss:.3g} in {made.steps} "
            f"steps, heat {before / np.pi:.1f} -> {after / np.pi:.1f} P_pi"
        )
        driven = with_drives(program, layout, made.drive_rad)
        if len(lengths):
            size = float(np.sqrt(np.mean(made.length_rad**2)))
            context.log(
                f"compensate: {len(lengths)} passive phases made for a warm chip, by "
                f"{size:.2g} rad (root mean square)"
            )
        return with_lengths(driven, lengths, made.length_rad)
