"""Gemm: Y = alpha * A' B' + beta * C, with A or B constant.

alpha becomes part of the weight; beta * C stays electronic.
"""

import math

import numpy as np
from onnx import NodeProto, helper

from onnx2mzi.frontend.attributes import integer, real
from onnx2mzi.frontend.lowerings.base import Lowered, Part, Scope, Stays, matrix64, unsuited


def lower_gemm(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """W = alpha * B'^T on the rows of A', or W = alpha * A' on the columns of B'."""
    if len(node.input) < 2 or not all(node.input[:2]):
        raise scope.error("a Gemm has at least two inputs")
    a, b = node.input[:2]
    bias = node.input[2] if len(node.input) > 2 else ""
    alpha, beta = real(node, "alpha", 1.0), real(node, "beta", 1.0)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not math.isfinite(value):
            raise scope.error(f"{name} is {value}")
    turned_a, turned_b = bool(integer(node, "transA", 0)), bool(integer(node, "transB", 0))
    if scope.constants.static(a) and scope.constants.static(b):
        return None
    right, left = scope.weight(b), scope.weight(a)
    constant = left if right is None else right
    if constant is None:
        return scope.no_constant([b, a])
    unfit = unsuited(constant)
    if unfit:
        return unfit
    if constant.ndim != 2:
        raise scope.error(f"its weight has shape {list(constant.shape)}, not two dimensions")
    if right is not None:
        weight = right if turned_b else right.T
        part = _part(scope, weight, alpha, a, -2 if turned_a else -1, right.dtype, b)
        _check_bias(bias, weight.shape[0], scope)
        inputs = [a, scope.binding(), bias]
        flags = {"transA": int(turned_a), "transB": 1}
    else:
        assert left is not None
        weight = left.T if turned_a else left
        part = _part(scope, weight, alpha, b, -1 if turned_b else -2, left.dtype, a)
        inputs = [scope.binding(), b, bias]
        flags = {"transA": 0, "transB": int(turned_b)}
    kept = helper.make_node("Gemm", inputs if bias else inputs[:2], list(node.output), node.name)
    kept.attribute.extend(helper.make_attribute(key, flag) for key, flag in flags.items())
    # Gemm of opset 6 has one more.
    known = ("alpha", "beta", *flags)
    kept.attribute.extend(entry for entry in node.attribute if entry.name not in known)
    if bias and beta != 1.0:
        kept.attribute.append(helper.make_attribute("beta", beta))
    return Lowered((part,), (kept,))


def _part(
    scope: Scope,
    weight: np.ndarray,
    alpha: float,
    source: str,
    axis: int,
    dtype: np.dtype[np.floating],
    tensor: str,
) -> Part:
    scaled = matrix64(weight if alpha == 1.0 else alpha * weight.astype(np.float64))
    return Part(scaled, source, axis, False, dtype.name, tensor)


def _check_bias(name: str, rows: int, scope: Scope) -> None:
    bias = scope.constants.value(name) if name else None
    if bias is None:
        return
    if bias.dtype.kind == "f" and not np.isfinite(bias).all():
        raise scope.error(f"bias '{name}' has NaN or infinite entries")
    if bias.ndim > 2 or (bias.ndim and bias.shape[-1] not in (1, rows)):
        raise scope.error(f"bias '{name}' has shape {list(bias.shape)} for {rows} outputs")
