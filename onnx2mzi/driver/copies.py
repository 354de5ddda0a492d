"""Imperfect copies of a compiled chip on data: how good the chips are that come back."""

from collections.abc import Callable, Mapping
from dataclasses import make_dataclass
from typing import Any

import numpy as np

from onnx2mzi.driver.compile import Compiled
from onnx2mzi.driver.fabricated import calibration_of
from onnx2mzi.emulate.accuracy import accuracy, disagreement, relative_error, score_output
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.emulate.host import Matrices
from onnx2mzi.emulate.imperfect import How, ImperfectProgram, imperfect_program
from onnx2mzi.emulate.noise import NoisyRunner
from onnx2mzi.emulate.setting import Setting, affordable, set_as
from onnx2mzi.errors import UsageError
from onnx2mzi.physics.imperfection import SIZES, Imperfections
from onnx2mzi.pipeline.spec import build, parse_items
from onnx2mzi.tech import Technology

OPTION = "--imperfect"
# Chips, if the user does not say.
COPIES = 20

Row = dict[str, Any]

_SIZES = make_dataclass("imperfect", [(name, float, 0.0) for name in SIZES], frozen=True)


def imperfections_of(text: str, technology: Technology) -> Imperfections:
    """`typical` of the technology, or sizes as in `phase_rad=0.02 split_rad=0.01`.

    Raises UsageError.
    """
    if text.strip() == "typical":
        return technology.errors.typical()
    (item,) = parse_items(f"imperfect{{{text}}}")
    # Sizes are numbers; drivers with few bits are what the pass quantize is for.
    given: Any = build(item, _SIZES)
    try:
        return Imperfections(**{name: getattr(given, name) for name in SIZES})
    except ValueError as error:
        raise UsageError(str(error), where=OPTION) from None


def chosen_setting(name: str) -> Setting:
    """Raises UsageError for what is none of them."""
    try:
        return Setting(name)
    except ValueError:
        words = ", ".join(choice.value for choice in Setting)
        raise UsageError(f"'{name}' is none of {words}", where="--setting") from None


def on_copies(
    chip: Compiled,
    samples: Dataset,
    sizes: Imperfections,
    *,
    copies: int | None,
    seed: int,
    setting: Setting = Setting.EACH,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Row:
    """Figures of `copies` chips with imperfections drawn from `seed`, against the network that
    was asked for: accuracies where there are labels, answers that change, relative errors.

    `copies` None: `COPIES`, fewer of chips whose heaters are set together.
    """
    technology = chip.emission.technology
    drawn = imperfect_program(chip.program, technology)
    how = set_as(How(sizes, seed=seed, calibration=calibration_of(technology)), setting)
    if copies is None:
        copies = affordable(drawn, COPIES) if how.retune else COPIES
    asked = chip.run_original(samples.inputs)
    scores = score_output(asked) is not None
    run = _runner(chip, samples, drawn, how)
    found: dict[str, list[float]] = {"accuracy": [], "changed_answers": [], "rel_error": []}
    for copy in range(copies):
        progress("imperfect copies", copy, copies)
        (matrices,) = drawn.matrices(how, [copy])
        outputs = run(matrices, copy)
        found["rel_error"].append(relative_error(outputs, asked))
        if scores:
            found["changed_answers"].append(disagreement(outputs, asked))
        if scores and samples.labels is not None:
            found["accuracy"].append(accuracy(outputs, samples.labels))
    about = {"copies": copies, "seed": seed, "setting": str(setting), "sizes": _sizes(sizes)}
    return about | _figures(found)


def _runner(
    chip: Compiled, samples: Dataset, drawn: ImperfectProgram, how: How
) -> Callable[[Matrices, int], dict[str, np.ndarray]]:
    """Outputs of a copy with these matrices, with the noise of its samples if there is any."""
    layers = chip.program.layers
    if not how.sizes.noisy:
        return lambda matrices, copy: chip.runner.run(matrices, layers, samples.inputs)
    noisy = NoisyRunner(chip.runner.host, layers, samples.inputs, drawn.ideal)
    return lambda matrices, copy: noisy.run(matrices, samples.inputs, how, copy)


def _figures(found: Mapping[str, list[float]]) -> Row:
    row: Row = {}
    for name, values in found.items():
        worst = min if name == "accuracy" else max
        row[f"{name}_mean"] = float(np.mean(values)) if values else None
        row[f"{name}_std"] = float(np.std(values)) if values else None
        row[f"{name}_worst"] = float(worst(values)) if values else None
    return row


def _sizes(sizes: Imperfections) -> Row:
    """What is not ideal."""
    return {name: getattr(sizes, name) for name in SIZES if getattr(sizes, name) != 0}
