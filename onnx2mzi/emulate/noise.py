"""Noise of every sample: a host graph that takes it next to its layers, and the numbers for it.

The numbers belong to seed, copy, layer, sample and guide: they are the same whatever other copies
and samples run, by whom, and however many at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnx2mzi.emulate.batching import plan
from onnx2mzi.emulate.host import Arrays, HostRunner, Matrices
from onnx2mzi.emulate.imperfect_tile import How
from onnx2mzi.emulate.noise_graph import Tap, noisy_model, taps_of, watched_model
from onnx2mzi.ir import Host, LinearLayer, TensorSpec
from onnx2mzi.kernels.native import extension
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.imperfection_random import block_keys, normal_row

# Samples that full scales are taken from, and entries of noise in memory.
_SCALE_SAMPLES = 256
_AT_ONCE = 1 << 24


@dataclass(frozen=True, slots=True)
class _Size:
    """Entries a sample, and the largest of them on the ideal chip."""

    entries: int
    full_scale: float


class NoisyRunner:
    """A network whose layers' modulators and detectors have noise.

    Full scales are the largest inputs and outputs of every layer on the ideal chip, for the first
    of `inputs`. `without` names layers that noise cannot be brought to: recurrent ones, and those
    in loops. Raises InputError as `HostRunner`.
    """

    def __init__(
        self, host: Host, layers: Sequence[LinearLayer], inputs: Arrays, ideal: Matrices
    ) -> None:
        self.layers = tuple(layers)
        self.taps, self.without = taps_of(host.model, layers)
        how, free = plan(host.inputs, inputs), _free(host.inputs, inputs)
        self._cut = how.single or how.size > 0 or free
        self._step = 1 if free else max(how.size, 1)
        self._sizes = self._measured(host, inputs, ideal)
        shape = (None,) if how.single else (None, None)
        specs = [TensorSpec(name, tap.dtype, shape) for tap in self.taps for name in tap.noise]
        model = noisy_model(host.model, self.taps, rank=len(shape))
        self._runner = HostRunner(replace(host, model=model, inputs=(*host.inputs, *specs)))

    def _measured(self, host: Host, inputs: Arrays, ideal: Matrices) -> dict[str, _Size]:
        own = {spec.name for spec in (*host.inputs, *host.outputs)}
        tensors = {name: tap.dtype for tap in self.taps for name in tap.tensors}
        more = [TensorSpec(x, dtype, ()) for x, dtype in tensors.items() if x not in own]
        watched = replace(
            host,
            model=watched_model(host.model, [(spec.name, spec.dtype) for spec in more]),
            outputs=(*host.outputs, *more),
        )
        runner = HostRunner(watched)

        def seen(samples: int) -> dict[str, np.ndarray]:
            some = self._part(inputs, 0, samples)
            found = {**some, **runner.run(ideal, self.layers, some)}
            return {name: np.asarray(found[name]) for name in tensors}

        least = self._step if self._cut else _samples(inputs)
        first = seen(least)
        entries = sum(array.size for array in first.values()) // least
        samples = min(_SCALE_SAMPLES, _AT_ONCE // max(entries, 1), _samples(inputs))
        samples = max(samples // least, 1) * least
        sizes = {}
        for name, array in (first if samples == least else seen(samples)).items():
            per_sample, left = divmod(array.size, samples)
            scale = float(np.abs(array).max(initial=0.0))
            sizes[name] = _Size(array.size if left else per_sample, scale)
        return sizes

    def _part(self, inputs: Arrays, start: int, count: int) -> dict[str, np.ndarray]:
        """So many samples from `start` on, or all where inputs cannot be cut."""
        if not self._cut:
            return dict(inputs)
        return {name: array[start : start + count] for name, array in inputs.items()}

    def run(self, matrices: Matrices, inputs: Arrays, how: How, copy: int) -> dict[str, np.ndarray]:
        """The model's outputs by name on a copy of the chip, `matrices` being its own."""
        samples = _samples(inputs)
        entries = sum(self._sizes[name].entries for tap in self.taps for name in tap.tensors)
        size = samples
        if self._cut:
            size = self._step * max(_AT_ONCE // max(entries, 1) // self._step, 1)
        parts = [
            self._some(matrices, inputs, how, copy, start, min(size, samples - start))
            for start in range(0, samples, size)
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _some(
        self, matrices: Matrices, inputs: Arrays, how: How, copy: int, start: int, count: int
    ) -> dict[str, np.ndarray]:
        fed = self._part(inputs, start, count)
        constant: dict[str, np.ndarray] = {}
        for tap in self.taps:
            laws = self._laws(tap, how)
            for name, tensor, law in zip(tap.noise, tap.tensors, laws, strict=True):
                entries = self._sizes[tensor].entries
                if any(law):
                    key = block_keys(seed=how.seed, copies=[copy], block=name)
                    drawn = _rows(int(key[0]), start, count, entries)
                else:
                    drawn = np.zeros((count, entries))
                fed[name] = drawn.astype(tap.dtype)
            constant |= tap.constants(laws)
        return self._runner.run(matrices, self.layers, fed, constant=constant)

    def _laws(self, tap: Tap, how: How) -> tuple[tuple[float], tuple[float, float]]:
        """Sigma of the inputs' noise; additive and linear part of the variance of the outputs'."""
        sizes, scale = how.sizes, self._sizes[tap.leaving].full_scale
        enters = how.region.covers(tap.layer, "v")
        leaves = how.region.covers(tap.layer, "u")
        return (
            (enters * sizes.input_noise * self._sizes[tap.entering].full_scale,),
            (leaves * (sizes.output_noise * scale) ** 2, leaves * sizes.shot_noise**2 * scale),
        )


def _samples(inputs: Arrays) -> int:
    return max((len(array) for array in inputs.values() if np.ndim(array)), default=1)


def _free(specs: Sequence[TensorSpec], inputs: Mapping[str, np.ndarray]) -> bool:
    """Whether any number of samples can go in at a time."""
    free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in specs)
    return free and len({np.shape(inputs[spec.name])[:1] for spec in specs}) == 1


def _rows(key: int, start: int, count: int, entries: int) -> Real:
    """Normal numbers (count, entries) of the samples from `start` on."""
    even = entries + entries % 2
    module = extension()
    if module is None:
        drawn = normal_row(key=key, first=start * even // 2, count=count * even)
    else:
        drawn = np.empty(count * even)
        module.normals(key, start * even // 2, count * even, drawn)
    return drawn.reshape(count, even)[:, :entries]
