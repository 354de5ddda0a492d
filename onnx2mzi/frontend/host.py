"""The host graph: the user's model with the weights of its layers as graph inputs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from onnx2mzi import __version__
from onnx2mzi.emulate.parts import doubled
from onnx2mzi.errors import InputError
from onnx2mzi.frontend.tensors import TensorReader, tensors_of
from onnx2mzi.frontend.validate import captured, with_ir
from onnx2mzi.ir import LinearLayer, TensorSpec

_BATCH = "onnx2mzi_batch"


@dataclass(frozen=True, slots=True, eq=False)
class HostGraph:
    """What the host is built of; `nodes` stand behind those that they read from."""

    nodes: Sequence[NodeProto]
    constants: Mapping[str, TensorProto]
    inputs: Sequence[ValueInfoProto]
    outputs: Sequence[ValueInfoProto]
    layers: Sequence[LinearLayer]


def build_host(model: ModelProto, parts: HostGraph, reader: TensorReader, where: str) -> bytes:
    """The serialised host. Nodes and constants that nothing needs are left out.

    Inputs: the user's, then the layers' matrices. Outputs: the user's, then the layers' sources.
    A first dimension that is fixed and the same for all inputs is freed, so that the emulator
    may try many samples at once; the user's own shapes are in `Host`.
    """
    outputs = [value.name for value in parts.outputs]
    taps = {x.operand.source: x.operand.dtype for x in parts.layers if x.operand.source}
    wanted = [*outputs, *taps]
    nodes = needed(parts.nodes, wanted)
    used = {*wanted}.union(*((*node.input, *captured(node)) for node in nodes))
    graph = GraphProto(name=model.graph.name or "host")
    graph.node.extend(nodes)
    for node in graph.node:
        node.ClearField("doc_string")
    # Constant nodes, and what the graphs in nodes hold.
    for tensor in tensors_of(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.CopyFrom(reader.inline(tensor))
    for name, tensor in parts.constants.items():
        if name in used:
            reader.refuse_nan(tensor)
            graph.initializer.append(reader.inline(tensor))
    graph.input.extend(parts.inputs)
    graph.input.extend({x.operand.binding: _binding(x) for x in parts.layers}.values())
    graph.output.extend(parts.outputs)
    graph.output.extend(
        helper.make_tensor_value_info(name, _element(dtype), None)
        for name, dtype in taps.items()
        if name not in outputs
    )
    free_batch(graph, len(parts.inputs), len(parts.outputs))
    host = helper.make_model(
        graph,
        producer_name="onnx2mzi",
        producer_version=__version__,
        ir_version=with_ir(model.ir_version),
        opset_imports=model.opset_import,
        functions=model.functions,
    )
    try:
        data: bytes = host.SerializeToString(deterministic=True)
    except Exception:  # The protobuf library's own errors differ by its implementation.
        raise InputError("the electronic part is larger than 2 GB", where=where) from None
    return data


def needed(nodes: Sequence[NodeProto], wanted: Iterable[str]) -> list[NodeProto]:
    """The nodes without which the values `wanted` cannot be made, in their order."""
    alive = set(wanted)
    kept: list[NodeProto] = []
    for node in reversed(nodes):
        if not alive.isdisjoint(node.output):
            alive.update(node.input, captured(node))
            kept.append(node)
    return kept[::-1]


def _element(dtype: str) -> int:
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _binding(layer: LinearLayer) -> ValueInfoProto:
    m, n = (doubled(size, layer.operand.parts) for size in layer.weight.shape)
    rows, columns = (n, m) if layer.operand.transposed else (m, n)
    shape = (rows * layer.operand.slot[1], columns)
    return helper.make_tensor_value_info(
        layer.operand.binding, _element(layer.operand.dtype), shape
    )


def free_batch(graph: GraphProto, inputs: int, outputs: int) -> None:
    """Make the first dimension of the first `inputs` inputs and `outputs` outputs symbolic,
    if it is one number for all those inputs."""
    shapes = [value.type.tensor_type.shape for value in graph.input[:inputs]]
    firsts = {shape.dim[0].dim_value if shape.dim else 0 for shape in shapes}
    if len(firsts) != 1 or 0 in firsts:
        return
    (size,) = firsts
    for value in graph.output[:outputs]:
        shapes.append(value.type.tensor_type.shape)
    for shape in shapes:
        if shape.dim and shape.dim[0].dim_value == size:
            shape.dim[0].dim_param = _BATCH


def tensor_spec(value: ValueInfoProto) -> TensorSpec:
    """Name, numpy dtype and shape of a graph input or output.

    What is no tensor has the dtype `object`; an unknown shape is ().
    """
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.elem_type:
        return TensorSpec(value.name, "object", ())
    try:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    except KeyError:
        dtype = "object"
    shape = tuple(
        int(d.dim_value) if d.dim_value > 0 else d.dim_param or None for d in kind.shape.dim
    )
    return TensorSpec(value.name, dtype, shape)


def ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """The number of dimensions of every value whose shape the model tells."""
    values = (*graph.input, *graph.value_info, *graph.output)
    return {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
