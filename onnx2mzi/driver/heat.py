"""What heat does to a chip, on samples: for the report of a compile, and for `run --heat`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from onnx2mzi.driver.measure import Samples
from onnx2mzi.emulate.accuracy import accuracy, disagreement, score_output
from onnx2mzi.emulate.compensate_chip import compensate_chip
from onnx2mzi.emulate.data import Dataset, split
from onnx2mzi.emulate.heat_study import COPIES, heat_map, heat_study, warm_chip
from onnx2mzi.emulate.heat_task import NetworkTask, task_of
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import FitError, UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.physics.heat_section import p_pi_mw
from onnx2mzi.pipeline.backend import Measured
from onnx2mzi.tech import Technology

SAMPLES = 400
# Heaters times pieces of guide: more than this, and fewer copies are drawn.
MANY_PAIRS, FEW_COPIES = 20_000_000, 2
MOST_PAIRS = 250_000_000

Row = dict[str, Any]


def p_pi_note(technology: Technology) -> Row:
    """P_pi as the layers of the chip make it, beside what the technology says."""
    try:
        derived = p_pi_mw(stack=technology.thermal_stack)
    except ValueError as error:
        raise UsageError(str(error), where=f"[thermal] of {technology.name}") from None
    ratio = technology.p_pi_mw / derived
    return {
        "technology": technology.name,
        "p_pi_mw": technology.p_pi_mw,
        "p_pi_mw_derived": derived,
        "ratio": ratio,
        "note": "as the layers make it"
        if 0.8 <= ratio <= 1.25
        else "not what the layers of [thermal] make: one of them is not this process",
    }


def driven(program: Program) -> bool:
    """Whether `compensate` has set the drives."""
    return program.placement is not None and any(
        block.drive_rad.size for block in program.placement.blocks
    )


def with_heat(
    found: Measured, program: Program, technology: Technology, runner: HostRunner, on: Samples
) -> Measured:
    """`found` with what heat does to a compensated chip; other chips are left alone."""
    if program.stage is not Stage.PLACED or not driven(program):
        return found
    data = Dataset(on.inputs, on.labels)
    return replace(found, heat=_studied(program, technology, runner, on.network, data, None))


def heated(
    program: Program,
    technology: Technology,
    runner: HostRunner,
    data: Dataset,
    progress: Callable[[str, int, int], None],
) -> Row:
    """The study of `run --heat`. A chip without compensated drives gets them here, from every
    second sample, and is judged on the others.

    Raises UsageError for a chip that has no places.
    """
    if program.stage is not Stage.PLACED:
        raise UsageError("is not placed: heat needs places", where=program.name, hint="-O place")
    fit, held = (data, data) if driven(program) else split(data)
    network = Network(runner, program.layers, fit, held)
    return _studied(program, technology, runner, network, held, progress)


def _studied(
    program: Program,
    technology: Technology,
    runner: HostRunner,
    network: Network | None,
    data: Dataset,
    progress: Callable[[str, int, int], None] | None,
) -> Row:
    task = task_of(network, samples=SAMPLES)
    score, name = _score(program, runner, data)
    warm = _warm(program, technology, task)
    layout = warm.layout
    pairs = len(layout.heaters) * layout.push.shape[1]
    drives = None
    if not driven(program) and progress is not None:
        steps = 6
        made = compensate_chip(
            aim=warm.aim,
            layout=layout,
            response=warm.response,
            steps=steps,
            tell=lambda step, loss: progress("compensate", step, steps),
        )
        drives = made.drive_rad
    copies = COPIES if pairs <= MANY_PAIRS else FEW_COPIES
    study = heat_study(warm, score, drive_rad=drives, copies=copies)
    shown = heat_map(warm, study.pop("drives"))
    return {
        "score": name,
        **study,
        "map": {
            "x0_um": shown.x0_um,
            "y0_um": shown.y0_um,
            "cell_um": shown.cell_um,
            "kelvin": np.round(shown.kelvin, 3).tolist(),
        },
    }


def _warm(program: Program, technology: Technology, task: NetworkTask | None) -> Any:
    try:
        return warm_chip(program, technology, task, most_pairs=MOST_PAIRS)
    except OverflowError as error:
        raise FitError(str(error), where="heat", hint="prune more, or fewer --ports") from None
    except ValueError as error:
        raise UsageError(str(error), where="heat") from None


def _score(
    program: Program, runner: HostRunner, data: Dataset
) -> tuple[Callable[[dict[str, Matrix]], float], str]:
    """Accuracy with labels; else the share of answers as the model's, or 1 - relative error."""
    wanted = runner.run({}, program.layers, data.inputs)
    labels = data.labels

    def score(matrices: dict[str, Matrix]) -> float:
        outputs = runner.run(matrices, program.layers, data.inputs)
        if score_output(wanted) is None:
            off = max(
                float(np.linalg.norm(outputs[k] - wanted[k]) / (np.linalg.norm(wanted[k]) + 1e-300))
                for k in wanted
            )
            return max(0.0, 1.0 - off)
        if labels is None:
            return 1.0 - disagreement(outputs, wanted)
        return accuracy(outputs, labels)

    if score_output(wanted) is None:
        return score, "1 - relative error"
    return score, "answers as the model's" if labels is None else "accuracy"
