"""Small ONNX models for the tests of this folder."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, helper, numpy_helper

Shape = Sequence[int | str | None] | None
MakeModel = Callable[..., onnx.ModelProto]


def onnx_model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    weights: Mapping[str, np.ndarray],
    *,
    opset: int = 17,
    ir: int = 8,
    dtype: str = "float32",
) -> onnx.ModelProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value(name, element, shape) for name, shape in inputs.items()],
        [value(name, element, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    if ir < 4:
        graph.input.extend(
            value(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            for name, array in weights.items()
        )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir)


@pytest.fixture(scope="session")
def make_onnx() -> MakeModel:
    """`make_onnx(nodes, {input: shape}, [output], {weight: array}, opset=17, ir=8)`."""
    return onnx_model
