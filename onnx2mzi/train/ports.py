"""Factors and offsets of ports: what modulators and receivers can do besides the mesh.

Every input of a layer is set by a modulator of its own and every output is read by a receiver of
its own, so a factor of each and an offset behind it are electronic and cost no heater, as biases
do. Training may use them where phases are few. A complex input takes a complex factor, what turns
its light as well; more exactly a real 2 x 2 matrix from its two quadratures to them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as arrays

from onnx2mzi.ir import Electronic, LinearLayer, Program
from onnx2mzi.ir.operand import STACKED, WHOLE, View

# Constants with such names may be trained: no node of the user's model has them.
PORTS = "onnx2mzi/ports/"
WHY = "factors and offsets of its ports, which cost no heater"


def with_ports(program: Program) -> Program:
    """The program with factors 1 and offsets 0 at the ports of its layers, in the host graph.

    It computes what it did. Layers that the host uses in more than one place, or as more than
    the matrix of a product of rows, are left alone.
    """
    host = program.host
    if host is None:
        return program
    model = ModelProto()
    model.ParseFromString(host.model)
    graph = model.graph
    nodes = list(graph.node)
    layers, noted = [], []
    for layer in program.layers:
        at = _product(layer, nodes)
        if at is None or any(x.name.startswith(_prefix(layer)) for x in graph.initializer):
            layers.append(layer)
            continue
        nodes[at : at + 1], source = _around(graph, layer, nodes[at])
        layers.append(replace(layer, operand=replace(layer.operand, source=source)))
        noted.append(Electronic(layer.loc, WHY))
    nodes = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    new = replace(
        host,
        model=model.SerializeToString(deterministic=True),
        electronic=(*host.electronic, *noted),
    )
    return replace(program, layers=tuple(layers), host=new)


def _prefix(layer: LinearLayer) -> str:
    return f"{PORTS}{layer.name}/"


def _product(layer: LinearLayer, nodes: Sequence[NodeProto]) -> int | None:
    """Where the product x @ B is that the layer's matrix is B of; None if it is anything else."""
    operand = layer.operand
    plain = operand.view == View() and operand.slot == WHOLE and operand.turn == WHOLE
    takers = [k for k, node in enumerate(nodes) if operand.binding in node.input]
    if not plain or operand.axis != -1 or len(takers) != 1:
        return None
    node = nodes[takers[0]]
    rows = list(node.input[:2]) == [operand.source, operand.binding]
    turned = any(x.name == "transA" and x.i for x in node.attribute)
    return takers[0] if node.op_type in ("MatMul", "Gemm") and rows and not turned else None


def _around(graph: GraphProto, layer: LinearLayer, node: NodeProto) -> tuple[list[NodeProto], str]:
    """The product `node` between what scales, and the name of what the layer takes now.

    Constants and the output that shows it are put into `graph`.
    """
    prefix, operand = _prefix(layer), layer.operand
    kind = np.dtype(operand.dtype)
    twice = 2 if operand.parts else 1
    m, n = (twice * int(size) for size in layer.weight.shape)

    def constant(name: str, value: np.ndarray[Any, Any]) -> str:
        graph.initializer.append(arrays.from_array(value, prefix + name))
        return prefix + name

    def made(op: str, inputs: list[str], output: str, axis: int | None = None) -> NodeProto:
        name = output if output.startswith(prefix) else prefix + "out"
        node = helper.make_node(op, inputs, [output], name=name)
        node.attribute.extend([] if axis is None else [helper.make_attribute("axis", axis)])
        return node

    x, y = node.input[0], node.output[0]
    before = [made("Mul", [x, constant("factor", np.ones(n, kind))], prefix + "scaled")]
    source = prefix + "scaled"
    if operand.parts:
        source = prefix + "turned"
        order = np.arange(n).reshape((2, -1) if operand.parts == STACKED else (-1, 2))
        order = order[::-1] if operand.parts == STACKED else order[:, ::-1]
        other = constant("other", np.ascontiguousarray(order).reshape(-1).astype(np.int64))
        cross = constant("cross", np.zeros(n, kind))
        before += [
            made("Gather", [x, other], prefix + "quadratures", axis=-1),
            made("Mul", [prefix + "quadratures", cross], prefix + "crossed"),
            made("Add", [prefix + "scaled", prefix + "crossed"], source),
        ]
    behind = [
        made("Mul", [prefix + "read", constant("gain", np.ones(m, kind))], prefix + "amplified"),
        made("Add", [prefix + "amplified", constant("offset", np.zeros(m, kind))], y),
    ]
    graph.output.append(_shown(source, kind))
    there = NodeProto.FromString(node.SerializeToString())
    there.input[0], there.output[0] = source, prefix + "read"
    return [*before, there, *behind], source


def _shown(name: str, kind: np.dtype[Any]) -> ValueInfoProto:
    number: TensorProto.DataType = helper.np_dtype_to_tensor_dtype(kind)
    return helper.make_tensor_value_info(name, number, None)
