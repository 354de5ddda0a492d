"""The host graph in torch: what is electronic, differentiable in the matrices of the layers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host, LinearLayer, Operand
from onnx2mzi.ir.operand import STACKED
from onnx2mzi.train import operators, recurrent, windows
from onnx2mzi.train.node import REMEDY, Node, Operator
from onnx2mzi.train.ports import PORTS

TABLE: dict[str, Operator] = {**operators.TABLE, **windows.TABLE, **recurrent.TABLE}


class HostGraph:
    """A host graph as a function of the layers' matrices, the model's inputs and its constants.

    Only what leads to outputs of floating-point numbers is run: nothing else is trained for.
    `constants` holds the constants that this takes, `biases` names those of them that are added to
    what a layer puts out. Raises InputError for an operator that is not in `TABLE`, and for a type
    of numbers that torch has not.
    """

    def __init__(self, host: Host, layers: Sequence[LinearLayer]) -> None:
        model = ModelProto()
        model.ParseFromString(host.model)
        graph = model.graph
        opset = max(
            (x.version for x in model.opset_import if x.domain in ("", "ai.onnx")), default=1
        )
        self.inputs = tuple(spec.name for spec in host.inputs)
        self.outputs = tuple(
            spec.name for spec in host.outputs if spec.dtype.startswith(("float", "complex"))
        )
        self.operands = {layer.name: layer.operand for layer in layers}
        protos = _needed(list(graph.node), self.outputs)
        used = {*self.outputs, *(name for proto in protos for name in proto.input)}
        self.constants = {
            x.name: _tensor(x, f"constant '{x.name}'") for x in graph.initializer if x.name in used
        }
        self.nodes = [_node(x, opset) for x in protos]
        bindings = {operand.binding for operand in self.operands.values()}
        self.biases = _biases(self.nodes, self.constants, bindings) + tuple(
            name
            for name, value in self.constants.items()
            if name.startswith(PORTS) and value.is_floating_point()
        )

    def __call__(
        self,
        matrices: Mapping[str, Tensor],
        inputs: Mapping[str, Tensor],
        constants: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The model's outputs of floating-point numbers by name.

        `matrices` (m, n) by layer name must name every layer; `constants` take the place of
        constants of the graph.
        """
        values: dict[str, Tensor | None] = {"": None}
        values |= self.constants
        values |= constants or {}
        values |= inputs
        values |= bound(self.operands, matrices)
        for node in self.nodes:
            try:
                args = [values[name] for name in node.inputs]
                found = TABLE[node.op](node, args)
            except (RuntimeError, IndexError, KeyError, AssertionError) as error:
                text = (str(error).splitlines() or [type(error).__name__])[0]
                raise node.refusal(f"this node: {text}") from error
            results = [found] if isinstance(found, Tensor) else list(found)
            for name, value in zip(node.outputs, results, strict=False):
                values[name] = value
        out = {}
        for name in self.outputs:
            result = values[name]
            assert result is not None
            out[name] = result
        return out


def bound(operands: Mapping[str, Operand], matrices: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the host inputs for the layers' matrices take, by name (as `emulate.host.bindings`)."""
    slots: dict[str, dict[int, Tensor]] = {}
    for name, operand in operands.items():
        matrix = matrices[name]
        matrix = _real_form(matrix, operand.parts)
        matrix = matrix.T if operand.transposed else matrix
        kind = getattr(torch, operand.dtype)
        slots.setdefault(operand.binding, {})[operand.slot[0]] = matrix.to(kind)
    return {
        name: parts[0] if len(parts) == 1 else torch.cat([parts[k] for k in sorted(parts)])
        for name, parts in slots.items()
    }


def _real_form(matrix: Tensor, parts: str) -> Tensor:
    """As `emulate.parts.real_form`."""
    if not parts:
        return matrix.real if matrix.is_complex() else matrix
    re, im = matrix.real, matrix.imag if matrix.is_complex() else torch.zeros_like(matrix)
    if parts == STACKED:
        return torch.cat([torch.cat([re, -im], 1), torch.cat([im, re], 1)])
    cells = torch.stack([torch.stack([re, -im], -1), torch.stack([im, re], -1)], 1)
    return cells.reshape(2 * re.shape[0], 2 * re.shape[1])


def _needed(nodes: list[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    alive = set(outputs)
    kept = []
    for node in reversed(nodes):
        if not alive.isdisjoint(node.output):
            alive.update(node.input)
            kept.append(node)
    return kept[::-1]


def _node(proto: NodeProto, opset: int) -> Node:
    name = proto.name or (proto.output[0] if proto.output else "")
    if proto.domain not in ("", "ai.onnx") or proto.op_type not in TABLE:
        raise InputError(
            f"training on phases cannot run the operator {proto.op_type}",
            where=f"node '{name}'",
            hint=REMEDY,
        )
    attributes = {
        x.name: _value(helper.get_attribute_value(x), f"node '{name}'") for x in proto.attribute
    }
    return Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), attributes, opset)


def _value(value: Any, where: str) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "raw_data"):
        return _tensor(value, where)
    if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
        return [x.decode() if isinstance(x, bytes) else x for x in value]
    return value


def _tensor(proto: TensorProto, where: str) -> Tensor:
    array = np.array(numpy_helper.to_array(proto))
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        kind = TensorProto.DataType.Name(proto.data_type).lower()
        raise InputError(
            f"training on phases has no values of the type {kind}", where=where, hint=REMEDY
        ) from error


def _biases(
    nodes: Sequence[Node], constants: Mapping[str, Tensor], bindings: set[str]
) -> tuple[str, ...]:
    """Float constants that are added to the outputs of a layer and used nowhere else."""
    matrices = set(bindings)
    sums: set[str] = set()
    uses: dict[str, int] = {}
    found = []
    for node in nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
        if node.op in ("Reshape", "Transpose", "Unsqueeze", "Squeeze", "Identity", "Split"):
            # A kernel is a matrix in another shape; what is moved stays a sum.
            for kind in (matrices, sums):
                if node.inputs[0] in kind:
                    kind.update(node.outputs)
        fed = any(name in matrices for name in node.inputs)
        if fed and node.op in ("Gemm", "Conv", "ConvTranspose") and len(node.inputs) > 2:
            found.append(node.inputs[2])
        elif fed and node.op in ("LSTM", "GRU", "RNN") and len(node.inputs) > 3:
            found.append(node.inputs[3])
        elif fed:
            sums.update(node.outputs)
        elif node.op == "Add" and any(name in sums for name in node.inputs):
            found += [name for name in node.inputs if name not in sums]
            sums.update(node.outputs)
    return tuple(
        name
        for name in dict.fromkeys(found)
        if name in constants and constants[name].is_floating_point() and uses[name] == 1
    )
