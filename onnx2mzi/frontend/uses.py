"""How often each layer is used in one inference, from the shapes that the host graph infers."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import onnx
from onnx import GraphProto, ModelProto

from onnx2mzi.emulate.columns import positions
from onnx2mzi.errors import InputError
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.shapes import drop_data, fold_shapes
from onnx2mzi.ir import Host, LinearLayer

# The most entries of a value between two nodes, for one inference.
MOST_ENTRIES = 1 << 29


def with_uses(
    host: Host, layers: Sequence[LinearLayer], constants: Constants
) -> tuple[LinearLayer, ...]:
    """The layers, `uses` filled in where every dimension of the source is known.

    A batch that the model leaves open counts as 1. Raises InputError for values far too large.
    """
    shapes = _shapes(host, {layer.operand.source for layer in layers}, constants)
    return tuple(replace(layer, uses=_uses(layer, shapes)) for layer in layers)


def _uses(layer: LinearLayer, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    shape = shapes.get(layer.operand.source)
    if shape is None:
        return None
    try:
        return positions(shape, layer)
    except InputError:
        # The shape inferred is not what onnxruntime would find; nothing is made up.
        return None


def _shapes(host: Host, names: set[str], constants: Constants) -> dict[str, tuple[int, ...]]:
    """The tensors among `names` whose shape follows from the inputs' shapes."""
    model = ModelProto()
    model.ParseFromString(host.model)
    graph = model.graph
    drop_data(model)
    fold_shapes(model, constants)
    specs = {spec.name: spec for spec in host.inputs}
    for value in graph.input:
        shape = specs[value.name].shape if value.name in specs else ()
        for axis, size in enumerate(shape):
            dim = value.type.tensor_type.shape.dim[axis]
            if isinstance(size, int):
                dim.dim_value = size
            elif axis == 0:
                dim.dim_value = 1
    # What the user's model declares may hold for another batch.
    del graph.output[:]
    try:
        # Values are carried along in the second step alone: a bomb would go off there.
        _refuse_huge(onnx.shape_inference.infer_shapes(model).graph, specs)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except InputError:
        raise
    except Exception:  # onnx raises several kinds; the shapes are then unknown.
        return {}
    _refuse_huge(inferred, specs)
    found: dict[str, tuple[int, ...]] = {}
    for value in (*inferred.input, *inferred.value_info):
        kind = value.type.tensor_type
        if value.name in names and kind.HasField("shape"):
            sizes = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in kind.shape.dim)
            if min(sizes, default=1) > 0:
                found[value.name] = sizes
    return found


def _refuse_huge(graph: GraphProto, inputs: Container[str]) -> None:
    """Raises InputError for a value that would fill the memory when the host runs.

    Other inputs of the graph than these stand for its constants.
    """
    for value in (*(v for v in graph.input if v.name in inputs), *graph.value_info):
        sizes = [max(dim.dim_value, 1) for dim in value.type.tensor_type.shape.dim]
        if math.prod(sizes) > MOST_ENTRIES:
            raise InputError(
                f"'{value.name}' would have the shape {sizes}, more than {MOST_ENTRIES} entries",
                hint="give smaller inputs with --input-shape",
            )
    for node in graph.node:
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                _refuse_huge(inner, ())
