"""MatMul with a constant on either side; a bias added behind it stays electronic."""

import math

import numpy as np
from onnx import NodeProto, helper

from onnx2mzi.frontend.lowerings.base import (
    MOST_PARTS,
    Lowered,
    Part,
    Scope,
    Stays,
    matrix64,
    numbered,
    reshaped,
    unsuited,
)
from onnx2mzi.ir import View


def lower_matmul(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W = B^T on the rows of x @ B, or W = A on the columns of A @ x.

    Constants of one dimension are a row of W. One of more than two is a stack of matrices, a
    layer each, that meets the matrices of the other operand one by one.
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
    fed = scope.binding()
    stack = constant.shape[:-2]
    count = math.prod(stack)
    if count > MOST_PARTS:
        return Stays(f"its weight is a stack of {count} matrices, more than {MOST_PARTS}")
    flat = constant.reshape(count, *constant.shape[-2:])
    # A row of W as a constant vector reads the same either way round.
    transposed = right is not None and constant.ndim > 1
    if right is not None:
        source, axis, tensor = a, -1, b
    else:
        source, axis, tensor = b, scope.axis(b, -2), a
    parts = tuple(
        Part(
            matrix64(np.atleast_2d(flat[k].T if transposed else flat[k])),
            source,
            axis,
            transposed,
            constant.dtype.name,
            tensor,
            numbered(k, count),
            View(at=_place(k, stack)) if count > 1 else View(),
            (k, count),
        )
        for k in range(count)
    )
    nodes: list[NodeProto] = []
    constants = []
    if stack or constant.ndim == 1:
        node_before, shape, fed = reshaped(scope, fed, constant.shape)
        nodes.append(node_before)
        constants.append(shape)
    inputs = [a, fed] if right is not None else [fed, b]
    nodes.append(helper.make_node("MatMul", inputs, list(node.output), name=node.name))
    return Lowered(parts, tuple(nodes), tuple(constants))


def _place(k: int, stack: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Where matrix k of a stack meets the other operand: its axes in front of the last two."""
    axes = range(-2 - len(stack), -2)
    indices = np.unravel_index(k, stack)
    return tuple(
        (axis, int(index))
        for axis, index, size in zip(axes, indices, stack, strict=True)
        if size > 1
    )
