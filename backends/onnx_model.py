"""`onnx`: MODEL_photonic.onnx, the user's model with the weights that the chip realises.

It runs in plain onnxruntime, with the inputs and outputs of the user's model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, numpy_helper

from onnx2mzi.emulate.host import bindings
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host, LinearLayer, TensorSpec
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.backend import Backend, Emission
from onnx2mzi.train.biases import KEPT

PREFIX = "onnx2mzi/"


@dataclass(frozen=True, slots=True)
class OnnxModel(Backend):
    """Writes MODEL_photonic.onnx; nothing for a program without a host graph."""

    name: ClassVar[str] = "onnx"

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        program = emission.program
        if program.host is None:
            return ()
        file = f"{program.name}_photonic.onnx"
        data = photonic_model(program.host, program.layers, emission.matrices)
        (directory / file).write_bytes(data)
        return (file,)


def photonic_model(
    host: Host, layers: Sequence[LinearLayer], matrices: Mapping[str, Matrix]
) -> bytes:
    """The serialised host graph with `matrices`, (m, n) by layer name, as its weights.

    The same arguments give the same bytes. Raises InputError if the result exceeds 2 GB.
    """
    model = ModelProto()
    model.ParseFromString(host.model)
    graph = model.graph
    weights = {layer.operand.binding for layer in layers}
    inputs = [value for value in graph.input if value.name not in weights]
    declared = {spec.name for spec in host.outputs}
    outputs = [value for value in graph.output if value.name in declared]
    for value, spec in zip((*inputs, *outputs), (*host.inputs, *host.outputs), strict=True):
        _declare(value, spec)
    _replace(graph.input, inputs)
    _replace(graph.output, outputs)
    first = [tensor for tensor in graph.initializer if tensor.name.startswith(KEPT)]
    for tensor in first:
        graph.initializer.remove(tensor)
    for name, array in bindings(layers, matrices).items():
        graph.initializer.append(numpy_helper.from_array(array, name))
    _rename(graph)
    try:
        data: bytes = model.SerializeToString(deterministic=True)
    except Exception:  # The protobuf library's own errors differ by its implementation.
        raise InputError("the photonic model is larger than 2 GB", where="onnx") from None
    return data


def _declare(value: ValueInfoProto, spec: TensorSpec) -> None:
    """Give a first dimension that the host has freed for batches its declared size again."""
    shape = value.type.tensor_type.shape
    if shape.dim and spec.shape and isinstance(spec.shape[0], int):
        shape.dim[0].dim_value = spec.shape[0]


def _rename(graph: GraphProto) -> None:
    """Call values that only the host has as a user would: `onnx2mzi/fc1/weight` is `fc1.weight`."""
    nodes = list(_nodes(graph))
    values = {name for node in nodes for name in (*node.input, *node.output)}
    taken = {*values, *(value.name for value in (*graph.input, *graph.initializer))}
    names: dict[str, str] = {}
    for name in sorted(name for name in taken if name.startswith(PREFIX)):
        plain = name.removeprefix(PREFIX).replace("/", ".")
        while plain in taken:
            plain += "_"
        taken.add(plain)
        names[name] = plain
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in nodes:
        for field in (node.input, node.output):
            for k, name in enumerate(field):
                if name in names:
                    field[k] = names[name]


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the graphs in them."""
    for node in graph.node:
        yield node
        for entry in node.attribute:
            for inner in (entry.g, *entry.graphs):
                yield from _nodes(inner)


def _replace(field: Any, values: Sequence[ValueInfoProto]) -> None:
    kept = []
    for value in values:
        copy = ValueInfoProto()
        copy.CopyFrom(value)
        kept.append(copy)
    del field[:]
    field.extend(kept)
