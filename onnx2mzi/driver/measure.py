"""How far the chip is from the user's model: onnxruntime on both, the same inputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onnx2mzi.driver.again import is_program
from onnx2mzi.driver.options import Options
from onnx2mzi.emulate.accuracy import (
    absolute_error,
    accuracy,
    check_finite,
    check_labels,
    disagreement,
    relative_error,
    score_output,
)
from onnx2mzi.emulate.data import Dataset, load_data, split
from onnx2mzi.emulate.host import HostRunner, least_samples, random_inputs, reference_run
from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import DropError, InputError, VerificationError
from onnx2mzi.ir import Program
from onnx2mzi.pipeline.backend import Measured
from onnx2mzi.pipeline.manager import Result

PROBES = 16
# A chip that only exact passes made must be the model up to single precision.
LOSSLESS_TOLERANCE = 1e-4

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Samples:
    """What passes may see, and what the finished chip is measured on.

    `network` is None without data; `labels` None if there are none; `name` says what the
    inputs are.
    """

    network: Network | None
    inputs: Arrays
    labels: np.ndarray | None
    name: str
    notes: tuple[str, ...] = ()


def samples(program: Program, runner: HostRunner, options: Options) -> Samples:
    """Read --data and --test, or make probe inputs. Raises InputError for data that do not fit."""
    host = runner.host
    network: Network | None = None
    notes: list[str] = []
    held: Dataset | None = None
    if options.data is not None:
        data = load_data(options.data, host)
        notes += data.notes
        _check_labels(data, program, runner, data_name(options.data))
        fit, held = split(data)
        network = Network(runner, program.layers, fit, held)
        check_finite(network.original, data_name(options.data))
    if options.test is not None:
        test = load_data(options.test, host)
        notes += test.notes
        _check_labels(test, program, runner, data_name(options.test))
        name = f"{len(test)} samples of {data_name(options.test)}, never fitted on"
        return Samples(network, test.inputs, test.labels, name, tuple(notes))
    if held is not None and options.data is not None:
        name = f"{len(held)} samples kept back from {data_name(options.data)} (every second row)"
        return Samples(network, held.inputs, held.labels, name, tuple(notes))
    inputs = random_inputs(
        host, batch=PROBES, seed=options.seed, input_shapes=dict(options.input_shapes)
    )
    return Samples(None, inputs, None, f"{_count(inputs)} random probe inputs")


def _check_labels(data: Dataset, program: Program, runner: HostRunner, where: str) -> None:
    # Before any pass works with them.
    if data.labels is not None:
        asked = {layer.name: layer.weight for layer in program.layers}
        few = least_samples(runner.host.inputs, data.inputs) or len(data)
        outputs = runner.run(asked, program.layers, data.take(slice(0, few)).inputs)
        check_labels(outputs, data.labels, where)


def measured(
    model: bytes | str | Path,
    result: Result,
    runner: HostRunner,
    on: Samples,
    *,
    original: HostRunner | None = None,
) -> Measured:
    """Errors of all outputs against the model itself, and both accuracies if there are labels.

    `original` runs the model's own host graph, where `runner` has another.
    """
    layers, name = result.program.layers, on.name
    try:
        if is_program(model):
            # It holds the model.
            reference = (original or runner).run({}, layers, on.inputs)
        else:
            reference = reference_run(model, on.inputs)
    except InputError:
        # It took the host graph: the file has operators of others, written out in the host.
        reference = (original or runner).run({}, layers, on.inputs)
        name = f"{name}, against the standard form of the model"
    chip = runner.run(result.matrices, layers, on.inputs)
    return compared(chip, reference, on.labels, name, _count(on.inputs))


def compared(
    chip: Arrays, reference: Arrays, labels: np.ndarray | None, name: str, count: int
) -> Measured:
    """The figures of merit of two sets of outputs."""
    if any(array.dtype.kind == "f" for array in reference.values()):
        # Class numbers flip where two scores are alike: they say nothing that scores do not.
        numbers = {name: array for name, array in reference.items() if array.dtype.kind == "f"}
    else:
        numbers = dict(reference)
    labelled = labels is not None and score_output(reference) is not None
    return Measured(
        max_abs_error=_finite(absolute_error(chip, numbers)),
        max_rel_error=_finite(relative_error(chip, numbers)),
        accuracy_reference=accuracy(reference, labels) if labelled and labels is not None else None,
        accuracy=accuracy(chip, labels) if labelled and labels is not None else None,
        changed_answers=disagreement(chip, reference) if score_output(reference) else None,
        samples=count,
        measured_on=name,
    )


def judge_lossless(found: Measured, *, lossless: bool) -> None:
    """Raises VerificationError if a chip that only exact passes made does not equal the model."""
    if lossless and (found.max_rel_error is None or found.max_rel_error > LOSSLESS_TOLERANCE):
        error = "infinite" if found.max_rel_error is None else f"{found.max_rel_error:.2g}"
        raise VerificationError(
            f"the emulated chip differs from the model: relative error {error} on "
            f"{found.measured_on}, at most {LOSSLESS_TOLERANCE:g} is allowed without lossy passes",
            hint="this is a bug; --exclude the layers one by one to find where",
        )


def judge_drop(found: Measured, max_drop: float, chip: object) -> None:
    """Raises DropError, which has the chip, if it is worse by more than `max_drop`: in accuracy
    with labels, in answers that change without, else in relative error."""
    what, drop = worse_by(found)
    if not drop <= max_drop + 1e-12:
        raise DropError(
            f"{what} {drop:.2%} on {found.measured_on}, more than the {max_drop:.2%} allowed",
            where="--max-drop",
            hint="allow more, prune less (a smaller --budget or target), or give more --data",
            chip=chip,
        )


def worse_by(found: Measured) -> tuple[str, float]:
    """How much worse the chip is, and in what."""
    if found.accuracy is not None and found.accuracy_reference is not None:
        return "accuracy fell by", found.accuracy_reference - found.accuracy
    if found.changed_answers is not None:
        return "top-1 answers changed by", found.changed_answers
    return "relative error is", np.inf if found.max_rel_error is None else found.max_rel_error


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _count(inputs: Arrays) -> int:
    return min((len(array) for array in inputs.values() if array.ndim), default=1)


def data_name(data: object) -> str:
    """What messages call the data: the file's name, if there is one."""
    return Path(data).name if isinstance(data, (str, Path)) else "the given arrays"
