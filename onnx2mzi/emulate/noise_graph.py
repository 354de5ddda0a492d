"""Where light enters and leaves the layers in a host graph, and the same graph with noise there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from onnx2mzi.ir import LinearLayer

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

# What may stand between a matrix and the operator that takes it.
_PASSING = frozenset(
    ["Cast", "Concat", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose",
     "Unsqueeze"]
)  # fmt: skip
_PRODUCTS = frozenset(["MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose"])
_FLOATS = frozenset(["float16", "float32", "float64"])


@dataclass(frozen=True, slots=True)
class Tap:
    """A use of a layer: the operator, a number of its own, the tensors before and behind it."""

    layer: str
    node: int
    slot: int
    entering: str
    leaving: str
    dtype: str

    @property
    def tensors(self) -> tuple[str, str]:
        """Those before and behind it."""
        return self.entering, self.leaving

    @property
    def noise(self) -> tuple[str, str]:
        """Graph inputs that take noise of the layer's inputs and outputs."""
        name = f"{self.layer}.{self.node}"
        return f"{name}.modulators", f"{name}.detectors"

    @property
    def laws(self) -> tuple[str, str, str]:
        """Graph inputs that take its sizes: see `constants`."""
        enters, leaves = self.noise
        return f"{enters}.sigma", f"{leaves}.fixed", f"{leaves}.linear"

    def constants(self, laws: tuple[tuple[float], tuple[float, float]]) -> dict[str, np.ndarray]:
        """What `laws` take: sigma of the inputs; fixed and linear part of the outputs' variance."""
        values = (*laws[0], *laws[1])
        return {
            name: np.array(value, self.dtype) for name, value in zip(self.laws, values, strict=True)
        }


def taps_of(model: bytes, layers: Sequence[LinearLayer]) -> tuple[tuple[Tap, ...], tuple[str, ...]]:
    """Every use of the layers in a host graph, and the names of layers that have none here."""
    graph = _parsed(model).graph
    fixed = {tensor.name for tensor in graph.initializer}
    taps, covered = [], set()
    for binding, members in _by_binding(layers).items():
        first = members[0]
        for number, slot in _uses(graph, binding):
            node = graph.node[number]
            entering = node.input[slot]
            if entering in fixed or first.operand.dtype not in _FLOATS:
                continue
            taps.append(
                Tap(first.name, number, slot, entering, node.output[0], first.operand.dtype)
            )
            covered.add(binding)
    without = [
        layer.name
        for binding, members in _by_binding(layers).items()
        if binding not in covered
        for layer in members
    ]
    return tuple(taps), tuple(without)


def _by_binding(layers: Sequence[LinearLayer]) -> dict[str, list[LinearLayer]]:
    found: dict[str, list[LinearLayer]] = {}
    for layer in layers:
        found.setdefault(layer.operand.binding, []).append(layer)
    return found


def _uses(graph: "GraphProto", binding: str) -> Iterator[tuple[int, int]]:
    """Operators that multiply by a matrix, and which of their inputs are the vectors."""
    matrix = {binding}
    for number, node in enumerate(graph.node):
        mine = [slot for slot, name in enumerate(node.input) if name in matrix]
        if not mine:
            continue
        if node.op_type in _PASSING:
            matrix.update(node.output)
        elif node.op_type in _PRODUCTS and mine in ([0], [1]):
            yield number, 1 - mine[0]


def watched_model(model: bytes, tensors: Sequence[tuple[str, str]]) -> bytes:
    """The graph with these tensors, name and numpy type, among its outputs."""
    from onnx import helper

    made = _parsed(model)
    there = {value.name for value in made.graph.output}
    for name, dtype in tensors:
        if name not in there:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
            made.graph.output.append(helper.make_tensor_value_info(name, element, None))
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def noisy_model(model: bytes, taps: Sequence[Tap], *, rank: int) -> bytes:
    """The graph with noise at every tap; `Tap.noise` have `rank` axes, `Tap.laws` none."""
    from onnx import helper

    made = _parsed(model)
    graph = made.graph
    before: dict[int, list[NodeProto]] = {}
    behind: dict[int, list[NodeProto]] = {}
    for tap in taps:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(tap.dtype))
        for name in tap.noise:
            graph.input.append(helper.make_tensor_value_info(name, element, [None] * rank))
        for name in tap.laws:
            graph.input.append(helper.make_tensor_value_info(name, element, []))
        before[tap.node] = _entering(tap)
        behind[tap.node] = _leaving(tap)
        node = graph.node[tap.node]
        node.input[tap.slot] = before[tap.node][-1].output[0]
        node.output[0] = f"{tap.noise[1]}.clean"
    nodes = list(graph.node)
    del graph.node[:]
    for number, node in enumerate(nodes):
        graph.node.extend([*before.get(number, []), node, *behind.get(number, [])])
    data: bytes = made.SerializeToString(deterministic=True)
    return data


def _entering(tap: Tap) -> "list[NodeProto]":
    from onnx import helper

    noise, sigma = tap.noise[0], tap.laws[0]
    return [
        helper.make_node("Shape", [tap.entering], [f"{noise}.shape"]),
        helper.make_node("Reshape", [noise, f"{noise}.shape"], [f"{noise}.shaped"]),
        helper.make_node("Mul", [f"{noise}.shaped", sigma], [f"{noise}.sized"]),
        helper.make_node("Add", [tap.entering, f"{noise}.sized"], [f"{noise}.noisy"]),
    ]


def _leaving(tap: Tap) -> "list[NodeProto]":
    from onnx import helper

    noise, (_, fixed, linear) = tap.noise[1], tap.laws
    clean = f"{noise}.clean"
    return [
        helper.make_node("Shape", [clean], [f"{noise}.shape"]),
        helper.make_node("Reshape", [noise, f"{noise}.shape"], [f"{noise}.shaped"]),
        helper.make_node("Abs", [clean], [f"{noise}.size"]),
        helper.make_node("Mul", [f"{noise}.size", linear], [f"{noise}.shot"]),
        helper.make_node("Add", [f"{noise}.shot", fixed], [f"{noise}.variance"]),
        helper.make_node("Sqrt", [f"{noise}.variance"], [f"{noise}.sigma_of"]),
        helper.make_node("Mul", [f"{noise}.shaped", f"{noise}.sigma_of"], [f"{noise}.sized"]),
        helper.make_node("Add", [clean, f"{noise}.sized"], [tap.leaving]),
    ]


def _parsed(model: bytes) -> "ModelProto":
    import onnx

    return onnx.load_model_from_string(model)
