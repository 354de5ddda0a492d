"""Constants of a host graph that training has changed, and those that the model came with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from onnx2mzi.ir import Host

# Nothing reads what has such a name: it only waits for `original_host`.
KEPT = "onnx2mzi/original/"


def with_constants(host: Host, values: Mapping[str, npt.NDArray[Any]]) -> Host:
    """The host with other constants in place of those of these names; the first ones are kept
    beside them. The same host if there are none."""
    if not values:
        return host
    model, graph = _parsed(host)
    there = {tensor.name for tensor in graph.initializer}
    kept: list[TensorProto] = []
    for tensor in graph.initializer:
        if tensor.name not in values:
            continue
        if KEPT + tensor.name not in there:
            copy = TensorProto()
            copy.CopyFrom(tensor)
            copy.name = KEPT + tensor.name
            kept.append(copy)
        before = numpy_helper.to_array(tensor)
        new = np.asarray(values[tensor.name]).astype(before.dtype).reshape(before.shape)
        tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    graph.initializer.extend(kept)
    return replace(host, model=model.SerializeToString(deterministic=True))


def original_host(host: Host) -> Host:
    """The host with the constants that the user's model has; the same if none were changed."""
    if KEPT.encode() not in host.model:
        return host
    model, graph = _parsed(host)
    first = {t.name.removeprefix(KEPT): t for t in graph.initializer if t.name.startswith(KEPT)}
    rest = [t for t in graph.initializer if not t.name.startswith(KEPT)]
    copies = []
    for tensor in rest:
        copy = TensorProto()
        copy.CopyFrom(first.get(tensor.name, tensor))
        copy.name = tensor.name
        copies.append(copy)
    del graph.initializer[:]
    graph.initializer.extend(copies)
    return replace(host, model=model.SerializeToString(deterministic=True))


def _parsed(host: Host) -> tuple[ModelProto, GraphProto]:
    model = ModelProto()
    model.ParseFromString(host.model)
    return model, model.graph
