"""Shapes of a graph's values as ONNX infers them, from constants that are small enough to copy."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.frontend.attributes import attribute
from onnx2mzi.frontend.fold import Constants

# Constants of more entries than this say nothing about shapes.
MOST = 1024

Shape = tuple[int | str | None, ...]


def inferred_shapes(
    model: ModelProto, nodes: Sequence[NodeProto], constants: Constants
) -> dict[str, Shape]:
    """The shapes that follow from what the model says of its inputs; {} if it is contradictory.

    A dimension without a number is its name, or None.
    """
    small = ModelProto(ir_version=model.ir_version)
    small.opset_import.extend(model.opset_import)
    graph = small.graph
    graph.name = "shapes"
    given = {value.name for value in model.graph.input}
    graph.input.extend(model.graph.input)
    for node in nodes:
        tensor = attribute(node, "value") if node.op_type == "Constant" else None
        if tensor is not None and math.prod(tensor.t.dims) > MOST:
            graph.input.append(_stand_in(tensor.t, node.output[0]))
        else:
            graph.node.append(node)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= MOST:
            graph.initializer.append(tensor)
        elif tensor.name not in given:
            graph.input.append(_stand_in(tensor, tensor.name))
    fold_shapes(small, constants)
    try:
        found = onnx.shape_inference.infer_shapes(small).graph
    except Exception:  # onnx raises several kinds; the shapes are then unknown.
        return {}
    shapes: dict[str, Shape] = {}
    for value in (*found.input, *found.value_info):
        kind = value.type.tensor_type
        if kind.HasField("shape"):
            shapes[value.name] = tuple(
                int(d.dim_value) if d.HasField("dim_value") else d.dim_param or None
                for d in kind.shape.dim
            )
    return shapes


def _stand_in(tensor: TensorProto, name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims))


def drop_data(model: ModelProto) -> None:
    """Turn large constants into inputs of the same shape: inference would copy their data."""
    kept: list[TensorProto] = []
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=np.float64) > MOST:
            model.graph.input.append(_stand_in(tensor, tensor.name))
        else:
            kept.append(tensor)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def fold_shapes(model: ModelProto, constants: Constants) -> None:
    """Put our own folding in the place of small constant nodes, of which onnx folds only some."""
    kept: list[NodeProto] = []
    for node in model.graph.node:
        output = node.output[0] if len(node.output) == 1 else ""
        value = constants.value(output) if output and constants.static(output) else None
        if value is None or value.size > MOST:
            kept.append(node)
        else:
            model.graph.initializer.append(numpy_helper.from_array(value, output))
    del model.graph.node[:]
    model.graph.node.extend(kept)
