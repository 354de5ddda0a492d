"""The chip as a foundry makes it: static phase errors that only heaters can trim.

A removed or passive shifter suffers as an active one does, and nobody can set it right
afterwards. So a pruned chip is always reported with the accuracy that it has as fabricated.
"""

from dataclasses import replace

import numpy as np

from onnx2mzi.driver.measure import Samples
from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.imperfect import Calibration, How, imperfect_program
from onnx2mzi.emulate.montecarlo import Bench, Effort, sampled
from onnx2mzi.emulate.montecarlo import Samples as Chips
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.pipeline.backend import Measured
from onnx2mzi.tech import Detection, Technology

COPIES, LEAST_COPIES = 24, 5
# MZIs times copies: some ten seconds. A chip too large for it is not measured.
MOST_WORK = 4_000_000
MOST_SAMPLES = 1000
# Chips set with all heaters together, steps of the search, and MZIs times both: half a minute.
RETUNED, STEPS, MOST_RETUNING = 3, 100, 3_000_000
# What a good chip may lose if the user does not say.
YIELD_DROP = 0.01


def calibration_of(technology: Technology) -> Calibration:
    """What receivers can adjust: an angle an output only if they see both quadratures."""
    return Calibration.READOUT if technology.detection is Detection.IQ else Calibration.GAIN


def with_fabrication(
    found: Measured,
    program: Program,
    technology: Technology,
    runner: HostRunner,
    on: Samples,
    *,
    seed: int,
    drop: float | None,
) -> Measured:
    """`found` with the accuracy of fabricated chips, if there are labels and meshes.

    Active heaters undo the static error where they sit; everything else on the chip is ideal.
    The yield counts chips that lose at most `drop` (default 1 point) against the ideal chip.
    """
    if program.stage is Stage.LINEAR or found.accuracy is None or on.labels is None:
        return found
    chip = imperfect_program(program, technology)
    copies = min(COPIES, MOST_WORK // max(chip.mzis, 1))
    some = slice(0, MOST_SAMPLES)
    inputs = {name: np.asarray(array)[some] for name, array in on.inputs.items()}
    if copies < LEAST_COPIES:
        return found
    bench = Bench(chip, runner.host, inputs, on.labels[some], runner=runner)
    if score_output(bench.ideal) is None:
        return found
    how = How(Imperfections(fabrication_scale=1.0), seed, calibration=calibration_of(technology))
    chips = sampled(bench, how, Effort(copies=copies))
    allowed = YIELD_DROP if drop is None else drop
    ideal = bench.ideal_score.accuracy
    assert ideal is not None
    found = _with_retuned(found, bench, replace(how, retune=STEPS), chips, ideal - allowed)
    return replace(
        found,
        accuracy_fabricated_mean=chips.mean,
        accuracy_fabricated_std=chips.std,
        accuracy_fabricated_yield=chips.share_at_least(ideal - allowed),
        fabricated_on=(
            f"{copies} chips with static phase errors of a coherence length of"
            f" {technology.guide.coherence_mm:g} mm, trimmed by the heaters that are left;"
            f" yield: chips that lose at most {100 * allowed:g} points"
        ),
    )


def _with_retuned(found: Measured, bench: Bench, how: How, trimmed: Chips, good: float) -> Measured:
    """`found` with the accuracy of chips all of whose heaters are set together, where there is
    something to gain and time for it."""
    copies, what = RETUNED, "the same chips"
    chips = trimmed
    if trimmed.share_at_least(good) < 1.0:
        if copies * STEPS * bench.chip.mzis > MOST_RETUNING:
            return found
        chips = sampled(bench, how, Effort(copies=copies))
        what = f"{copies} such chips"
    return replace(
        found,
        accuracy_retuned_mean=chips.mean,
        accuracy_retuned_std=chips.std,
        accuracy_retuned_yield=chips.share_at_least(good),
        retuned_on=f"{what}, their errors measured and all heaters set together for them",
    )
