"""How arrays of many samples meet a model whose first dimension may be fixed.

Samples lie along axis 0. A model with a free first dimension takes many at once, one with a
fixed first dimension b takes them b at a time, and one without a batch dimension one by one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnx2mzi.errors import InputError
from onnx2mzi.ir import TensorSpec

Arrays = Mapping[str, np.ndarray]

# Entries of input a run, so that the activations of a large network fit into memory.
_ENTRIES = 1 << 22
_SAMPLES = 4096


@dataclass(frozen=True, slots=True)
class Plan:
    """`samples` in runs of `size`; with `single`, axis 0 is taken off and put back.

    `size` 0 is one run with everything.
    """

    samples: int
    size: int
    single: bool = False

    def chunks(self, inputs: Arrays) -> Iterator[dict[str, np.ndarray]]:
        """The inputs of every run, in order."""
        if self.single:
            for k in range(self.samples):
                yield {name: np.ascontiguousarray(array[k]) for name, array in inputs.items()}
        elif self.size == 0:
            yield {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        else:
            for k in range(0, self.samples, self.size):
                yield {
                    name: np.ascontiguousarray(array[k : k + self.size])
                    for name, array in inputs.items()
                }

    def joined(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """One output of all runs: stacked along a new axis 0, or joined along axis 0."""
        if self.single or (len(parts) > 1 and parts[0].ndim == 0):
            return np.stack(parts)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def plan(specs: Sequence[TensorSpec], inputs: Arrays) -> Plan:
    """How to run `inputs` through a model whose inputs are `specs`.

    Raises InputError if an input is missing or unknown, or shapes or batches do not fit.
    """
    _check_names(specs, inputs)
    if not specs:
        return Plan(1, 0)
    extra = {inputs[spec.name].ndim - len(spec.shape) for spec in specs if spec.shape}
    if extra == {1} and all(spec.shape for spec in specs):
        for spec in specs:
            _check_shape(spec, inputs[spec.name].shape[1:])
        return Plan(_samples(specs, inputs), 1, single=True)
    for spec in specs:
        _check_shape(spec, inputs[spec.name].shape, batched=True)
    fixed = {
        int(spec.shape[0])
        for spec in specs
        if spec.shape
        and isinstance(spec.shape[0], int)
        and inputs[spec.name].shape[:1] != spec.shape[:1]
    }
    if not fixed:
        return _free(specs, inputs)
    if len(fixed) > 1:
        sizes = " and ".join(str(size) for size in sorted(fixed))
        raise InputError(f"the model's inputs have fixed first dimensions {sizes}")
    (size,) = fixed
    samples = _samples(specs, inputs)
    if size == 0 or samples % size:
        raise InputError(
            f"the model takes {size} samples at a time, and {samples} is no multiple of that",
            hint=f"give a multiple of {size} samples",
        )
    return Plan(samples, size)


def _free(specs: Sequence[TensorSpec], inputs: Arrays) -> Plan:
    lengths = {inputs[spec.name].shape[:1] for spec in specs}
    free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in specs)
    if not free or len(lengths) > 1:
        return Plan(1, 0)
    (samples,) = lengths.pop()
    entries = sum(inputs[spec.name].size for spec in specs) / max(samples, 1)
    size = int(min(_SAMPLES, max(1, _ENTRIES // max(entries, 1))))
    return Plan(samples, size) if samples > size else Plan(1, 0)


def _samples(specs: Sequence[TensorSpec], inputs: Arrays) -> int:
    lengths = {spec.name: len(inputs[spec.name]) for spec in specs}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' has {count}" for name, count in lengths.items())
        raise InputError(f"the inputs have different numbers of samples: {told}")
    samples = next(iter(lengths.values()))
    if samples == 0:
        raise InputError("there are no samples")
    return samples


def _check_names(specs: Sequence[TensorSpec], inputs: Arrays) -> None:
    names = [spec.name for spec in specs]
    for name in names:
        if name not in inputs:
            given = ", ".join(f"'{other}'" for other in inputs) or "nothing"
            raise InputError(f"the model's input '{name}' is missing; given: {given}")
    for name in inputs:
        if name not in names:
            known = ", ".join(f"'{other}'" for other in names)
            raise InputError(f"the model has no input '{name}'", hint=f"its inputs: {known}")


def _check_shape(spec: TensorSpec, shape: tuple[int, ...], *, batched: bool = False) -> None:
    # An empty declared shape is a scalar or a shape that the model does not tell.
    if not spec.shape:
        return
    wanted, given = spec.shape, shape
    first = 1 if batched else 0
    fits = len(wanted) == len(given) and all(
        not isinstance(w, int) or w == g for w, g in zip(wanted[first:], given[first:], strict=True)
    )
    if not fits:
        raise InputError(
            f"input '{spec.name}' has shape {list(given)}, the model takes {shape_text(spec)}"
        )


def shape_text(spec: TensorSpec) -> str:
    """`[N, 3, 224, 224]`; `?` is a dimension without a name."""
    return f"[{', '.join('?' if d is None else str(d) for d in spec.shape)}]"
