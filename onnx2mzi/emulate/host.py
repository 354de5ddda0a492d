"""The electronic rest of the network on onnxruntime, with any matrices in its linear layers."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.batching import plan, shape_text
from onnx2mzi.emulate.columns import columns, positions
from onnx2mzi.emulate.parts import real_form
from onnx2mzi.emulate.session import Session
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host, LinearLayer, Operand, TensorSpec
from onnx2mzi.physics.arrays import Matrix

Arrays = Mapping[str, np.ndarray]
Matrices = Mapping[str, Matrix]

# Names that exporters give to the length of a sequence, which may be anything.
_LENGTHS = ("seq", "len", "time", "step")
_SEQUENCE = 8
# float16 and other orders of summation stay below; samples that mix do not.
_SAME = 1e-3
_MOST = 1 << 28
# The most vectors of a layer that are worth having; entries of them in memory, of a layer and of
# all layers. Twice as many vectors as they have entries are taken even if they are more.
MOST_COLUMNS = 100_000
MOST_ENTRIES = 1 << 25
ALL_ENTRIES = 1 << 28
_SEED = 0
# Entries of host tensors that onnxruntime hands over at a time.
_HANDED = 1 << 26


class HostRunner:
    """One onnxruntime session for a host graph; it is fed other matrices at every call.

    In all methods `matrices` maps layer names to what each layer multiplies by, shape (m, n)
    (a layer that is not in it computes its own weight), `inputs` maps the names of the model's
    inputs to arrays with samples along axis 0. Raises InputError if onnxruntime refuses the
    model or the data do not fit.
    """

    def __init__(
        self, host: Host, *, threads: int = 1, optimize: bool = True, where: str = ""
    ) -> None:
        self.host = host
        self._session = Session(host.model, threads=threads, optimize=optimize, where=where)
        # The graph may take more samples at once than the user's model declares.
        declared = {spec.name: spec for spec in host.inputs}
        free = tuple(spec for spec in self._session.inputs if spec.name in declared)
        self._fixed = host.inputs
        self._free = free
        # Whether many samples at once give what they give one by one; None: not tried yet.
        self._many: bool | None = None if _first(free) != _first(self._fixed) else False

    def run(
        self,
        matrices: Matrices,
        layers: Sequence[LinearLayer],
        inputs: Arrays,
        *,
        constant: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        """The model's outputs by name. `constant` are inputs of the graph that are the same for
        every sample, besides the layers' matrices."""
        outputs = [spec.name for spec in self.host.outputs]
        return self._run(outputs, matrices, layers, inputs, constant)

    def layer_inputs(
        self, matrices: Matrices, layers: Sequence[LinearLayer], inputs: Arrays
    ) -> dict[str, np.ndarray]:
        """Every layer's input vectors as columns, shape (n, B), float64 or complex128, in the
        order of the host tensor; B is the samples times the positions at which the layer is used.

        Of more than `MOST_COLUMNS` (fewer in large networks: see `MOST_ENTRIES`) about that many
        are drawn, always the same. What onnxruntime hands over at a time is bounded as well.
        """
        given = {spec.name for spec in self.host.inputs}
        sources = sorted({layer.operand.source for layer in layers} - given - {""})
        found: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
        for layer in layers:
            if not layer.operand.source:
                found[layer.name].append(np.eye(layer.weight.shape[1]))
        rng = np.random.default_rng(_SEED)
        room = min(MOST_ENTRIES, ALL_ENTRIES // max(len(layers), 1))
        for tensors, share in self._pieces(sources, matrices, layers, inputs):
            for layer in layers:
                if not layer.operand.source:
                    continue
                tensor = tensors[layer.operand.source]
                n = layer.weight.shape[1]
                most = max(min(MOST_COLUMNS, room // n), 2 * n)
                chosen = _chosen(rng, positions(tensor.shape, layer), share, most)
                found[layer.name].append(columns(tensor, layer, chosen))
        # One by one, so that only one layer's columns are in memory twice.
        return {name: _joined(found.pop(name)) for name in list(found)}

    def _pieces(
        self,
        sources: Sequence[str],
        matrices: Matrices,
        layers: Sequence[LinearLayer],
        inputs: Arrays,
    ) -> Iterator[tuple[dict[str, np.ndarray], float]]:
        """The host tensors `sources` and the inputs for some samples after others, and which
        share of all samples these are."""
        unit = least_samples(self._fixed, inputs)
        samples = max((len(array) for array in inputs.values() if array.ndim), default=1)
        size = samples
        if unit and samples > unit:
            first = {name: array[:unit] for name, array in inputs.items()}
            one = self._run(sources, matrices, layers, first)
            entries = sum(array.size for array in one.values())
            size = unit * max(1, min(_HANDED // max(entries, 1), samples // unit))
        single = plan(self._fixed, inputs).single
        if size == samples and not single:
            yield {**inputs, **self._run(sources, matrices, layers, inputs)}, 1.0
            return
        for start in range(0, samples, size):
            some = {name: array[start : start + size] for name, array in inputs.items()}
            count = min(size, samples - start)
            made = {**some, **self._run(sources, matrices, layers, some)}
            if not single:
                yield made, count / samples
                continue
            # Layers know the tensors of one sample.
            for k in range(count):
                yield {name: array[k] for name, array in made.items()}, 1 / samples

    def _run(
        self,
        outputs: Sequence[str],
        matrices: Matrices,
        layers: Sequence[LinearLayer],
        inputs: Arrays,
        constant: Arrays | None = None,
    ) -> dict[str, np.ndarray]:
        weights = {**bindings(layers, matrices), **(constant or {})}
        how = plan(self._fixed, inputs)
        if how.size and not how.single and self._many is None:
            self._many = self._agrees(how.size, inputs, weights)
        specs = self._free if self._many else self._fixed
        return self._session.run(outputs, inputs, specs=specs, constant=weights)

    def _agrees(self, size: int, inputs: Arrays, weights: Arrays) -> bool:
        """Whether some runs of `size` samples at once give what they give one after another."""
        some = {name: array[: 3 * size] for name, array in inputs.items()}
        names = [spec.name for spec in self._session.outputs]
        try:
            once = self._session.run(names, some, specs=self._free, constant=weights)
        except InputError:
            return False
        apart = self._session.run(names, some, specs=self._fixed, constant=weights)
        return relative_error(once, apart) < _SAME


def _first(specs: Sequence[TensorSpec]) -> list[object]:
    return [spec.shape[:1] for spec in specs]


def bound(matrix: Matrix, operand: Operand) -> np.ndarray:
    """The array that the host input `operand.binding` takes for a layer's matrix (m, n)."""
    real = real_form(matrix, operand.parts)
    return np.ascontiguousarray(real.T if operand.transposed else real, np.dtype(operand.dtype))


def bindings(layers: Sequence[LinearLayer], matrices: Matrices) -> dict[str, np.ndarray]:
    """What the host inputs for the layers' matrices take, by name; see `HostRunner`.

    One matrix serves all copies of a layer: that of the first.
    """
    slots: dict[str, dict[int, np.ndarray]] = {}
    for layer in layers:
        operand = layer.operand
        if layer.copy_of:
            continue
        matrix = bound(matrices.get(layer.name, layer.weight), operand)
        slots.setdefault(operand.binding, {})[operand.slot[0]] = matrix
    return {
        name: parts[0] if len(parts) == 1 else np.concatenate([parts[k] for k in sorted(parts)])
        for name, parts in slots.items()
    }


def least_samples(specs: Sequence[TensorSpec], inputs: Arrays) -> int:
    """The fewest samples that the model runs on; 0 if its inputs cannot be cut."""
    how = plan(specs, inputs)
    if how.single or how.size == 0:
        free = all(spec.shape and not isinstance(spec.shape[0], int) for spec in specs)
        alike = len({array.shape[:1] for array in inputs.values()}) == 1
        return 1 if how.single or (free and alike) else 0
    return 1 if any(not isinstance(spec.shape[0], int) for spec in specs) else how.size


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _chosen(rng: np.random.Generator, count: int, share: float, most: int) -> np.ndarray | None:
    """Which of `count` positions to take, if those are `share` of all; None: each of them.

    Drawn, not every k-th: a step would meet the same column of every image.
    """
    if count / share <= most:
        return None
    return np.sort(rng.choice(count, max(1, round(most * share)), replace=False))


def reference_run(model: bytes | str | Path, inputs: Arrays) -> dict[str, np.ndarray]:
    """The outputs of the user's own model in plain onnxruntime, for comparison.

    Raises InputError if onnxruntime refuses it or the inputs do not fit.
    """
    session = Session(model)
    outputs = [spec.name for spec in session.outputs]
    return session.run(outputs, inputs, specs=session.inputs)


def random_inputs(
    host: Host,
    *,
    batch: int = 4,
    seed: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, np.ndarray]:
    """Probe inputs: normal floats, small integers, random booleans; the same for one seed.

    A symbolic first dimension becomes `batch`, a fixed one is repeated until there are about
    that many samples; lengths of sequences become 8. `input_shapes` overrules whole shapes.
    Raises InputError if another dimension or the shape is unknown.
    """
    shapes = {
        spec.name: _shape(spec, batch, (input_shapes or {}).get(spec.name)) for spec in host.inputs
    }
    firsts = {spec.shape[0] for spec in host.inputs if spec.shape}
    fixed = [first for first in firsts if isinstance(first, int) and first > 0]
    # A batch that is fixed for all inputs alike; only 1 can hardly be anything else.
    if firsts == {1} and fixed and not input_shapes:
        shapes = {name: (batch, *shape[1:]) for name, shape in shapes.items()}
    rng = np.random.default_rng(seed)
    return {spec.name: _probe(rng, spec, shapes[spec.name]) for spec in host.inputs}


def _shape(spec: TensorSpec, batch: int, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is not None:
        return tuple(given)
    shape: list[int] = []
    for axis, dimension in enumerate(spec.shape):
        if isinstance(dimension, int):
            shape.append(dimension)
        elif axis == 0:
            shape.append(batch)
        elif dimension is not None and any(word in dimension.lower() for word in _LENGTHS):
            shape.append(_SEQUENCE)
        else:
            raise InputError(
                f"input '{spec.name}' has the unknown shape {shape_text(spec)}",
                hint=f"give it with --input-shape {spec.name}:{_example(spec)}",
            )
    return tuple(shape)


def _example(spec: TensorSpec) -> str:
    return ",".join(str(d) if isinstance(d, int) else "1" if k == 0 else "N"
                    for k, d in enumerate(spec.shape))  # fmt: skip


def _probe(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    if math.prod(shape) > _MOST:
        raise InputError(f"input '{spec.name}' of shape {list(shape)} is too large")
    try:
        dtype = np.dtype(spec.dtype)
    except TypeError:
        dtype = np.dtype(object)
    match dtype.kind:
        case "f":
            return rng.standard_normal(shape).astype(dtype)
        case "i" | "u":
            return rng.integers(0, 2, shape).astype(dtype)
        case "b":
            return rng.integers(0, 2, shape).astype(bool)
        case _:
            raise InputError(
                f"no probe inputs can be made for input '{spec.name}' of type {spec.dtype}",
                hint="give inputs with --data",
            )
