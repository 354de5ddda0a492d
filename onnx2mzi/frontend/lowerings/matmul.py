"""MatMul with a constant on either side; a bias added behind it stays electronic."""

import numpy as np
from onnx import NodeProto, helper

from onnx2mzi.frontend.lowerings.base import (
    Lowered,
    Part,
    Scope,
    Stays,
    matrix64,
    reshaped,
    unsuited,
)


def lower_matmul(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W = B^T on the rows of x @ B, or W = A on the columns of A @ x.

    Constants of one dimension are a row of W; of more than two only with all others 1.
    """
    if len(node.input) != 2 or not all(node.input):
        raise scope.error("a MatMul has two inputs")
    a, b = node.input
    if scope.constants.static(a) and scope.constants.static(b):
        return None
    right, left = scope.weight(b), scope.weight(a)
    constant = left if right is None else right
    if constant is None:
        return scope.no_constant([b, a])
    unfit = unsuited(constant)
    if unfit:
        return unfit
    if constant.ndim == 0:
        raise scope.error("its weight is a single number")
    stack = constant.shape[:-2]
    if constant.size != int(np.prod(constant.shape[-2:])):
        return Stays(f"its weight of shape {list(constant.shape)} is a stack of matrices")
    flat = constant.reshape(constant.shape[-2:])
    if right is not None:
        # A row of W as a constant vector reads the same either way round.
        weight = flat[None, :] if flat.ndim == 1 else flat.T
        source, axis, tensor, transposed = a, -1, b, flat.ndim == 2
    else:
        weight = flat[None, :] if flat.ndim == 1 else flat
        source, axis, tensor, transposed = b, scope.axis(b, -2), a, False
    part = Part(matrix64(weight), source, axis, transposed, constant.dtype.name, tensor)
    nodes: list[NodeProto] = []
    constants = []
    fed = scope.binding()
    if stack or constant.ndim == 1:
        node_before, shape, fed = reshaped(scope, fed, constant.shape)
        nodes.append(node_before)
        constants.append(shape)
    inputs = [a, fed] if right is not None else [fed, b]
    nodes.append(helper.make_node("MatMul", inputs, list(node.output), name=node.name))
    return Lowered((part,), tuple(nodes), tuple(constants))
