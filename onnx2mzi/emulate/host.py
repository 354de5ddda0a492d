"""The electronic rest of the network on onnxruntime, with any matrices in its linear layers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.batching import plan, shape_text
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
        self, matrices: Matrices, layers: Sequence[LinearLayer], inputs: Arrays
    ) -> dict[str, np.ndarray]:
        """The model's outputs by name."""
        outputs = [spec.name for spec in self.host.outputs]
        return self._run(outputs, matrices, layers, inputs)

    def layer_inputs(
        self, matrices: Matrices, layers: Sequence[LinearLayer], inputs: Arrays
    ) -> dict[str, np.ndarray]:
        """Every layer's input vectors as columns, shape (n, B), float64, in the order of the
        host tensor; B is the samples times the other axes of that tensor."""
        given = {spec.name for spec in self.host.inputs}
        sources = sorted({layer.operand.source for layer in layers} - given)
        tensors = {**inputs, **self._run(sources, matrices, layers, inputs)}
        return {layer.name: columns(tensors[layer.operand.source], layer) for layer in layers}

    def _run(
        self,
        outputs: Sequence[str],
        matrices: Matrices,
        layers: Sequence[LinearLayer],
        inputs: Arrays,
    ) -> dict[str, np.ndarray]:
        weights = {
            layer.operand.binding: bound(matrices.get(layer.name, layer.weight), layer.operand)
            for layer in layers
        }
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
    turned = matrix.T if operand.transposed else matrix
    return np.ascontiguousarray(turned.real, np.dtype(operand.dtype))


def columns(tensor: np.ndarray, layer: LinearLayer) -> np.ndarray:
    """The vectors along the layer's axis of a host tensor, as columns (n, B), float64."""
    axis = -1 if tensor.ndim == 1 else layer.operand.axis
    rows = np.moveaxis(tensor, axis, -1).reshape(-1, tensor.shape[axis])
    n = layer.weight.shape[1]
    if rows.shape[1] != n:
        raise InputError(
            f"tensor '{layer.operand.source}' holds vectors of {rows.shape[1]}, not {n}",
            where=str(layer.loc),
        )
    return np.ascontiguousarray(rows.T, np.float64)


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
