"""ONNX operators on torch tensors: those that act entry by entry, and those that move entries."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onnx2mzi.train.node import Args, Node, Operator, given, need, numbers

# ONNX's numbers of element types.
DTYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    5: torch.int16,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
    11: torch.float64,
}


def _unary(function: Any) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        found: Tensor = function(need(args, 0))
        return found

    return run


def _binary(function: Any) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        found: Tensor = function(need(args, 0), need(args, 1))
        return found

    return run


def _many(function: Any) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        parts = [a for a in args if a is not None]
        found: Tensor = functools.reduce(function, parts)
        return found

    return run


def _gemm(node: Node, args: Args) -> Tensor:
    a, b, c = need(args, 0), need(args, 1), given(args, 2)
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    alpha, beta = node.get("alpha", 1.0), node.get("beta", 1.0)
    y = a @ b if alpha == 1.0 else alpha * (a @ b)
    if c is None:
        return y
    return y + (c if beta == 1.0 else beta * c)


def _divide(node: Node, args: Args) -> Tensor:
    a, b = need(args, 0), need(args, 1)
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def _softmax(function: Any) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        x = need(args, 0)
        if node.opset >= 13:
            newer: Tensor = function(x, dim=node.get("axis", -1))
            return newer
        axis = node.get("axis", 1) % x.ndim
        flat = x.reshape(math.prod(x.shape[:axis]), -1)
        found: Tensor = function(flat, dim=1)
        return found.reshape(x.shape)

    return run


def _clip(node: Node, args: Args) -> Tensor:
    low, high = given(args, 1), given(args, 2)
    if low is None and node.get("min") is not None:
        low = torch.tensor(node.get("min"))
    if high is None and node.get("max") is not None:
        high = torch.tensor(node.get("max"))
    x = need(args, 0)
    x = x if low is None else torch.maximum(x, low.to(x.dtype))
    return x if high is None else torch.minimum(x, high.to(x.dtype))


def _batch_norm(node: Node, args: Args) -> Tensor:
    x, scale, bias, mean, var = (need(args, k) for k in range(5))
    return F.batch_norm(x, mean, var, scale, bias, False, 0.0, node.get("epsilon", 1e-5))


def _layer_norm(node: Node, args: Args) -> Tensor:
    x, axis = need(args, 0), node.get("axis", -1)
    shape = x.shape[axis % x.ndim :]
    return F.layer_norm(x, list(shape), need(args, 1), given(args, 2), node.get("epsilon", 1e-5))


def _reshape(node: Node, args: Args) -> Tensor:
    x, shape = need(args, 0), numbers(node, args, "shape", 1) or []
    if not node.get("allowzero", 0):
        shape = [x.shape[k] if size == 0 else size for k, size in enumerate(shape)]
    return x.reshape(tuple(shape))


def _flatten(node: Node, args: Args) -> Tensor:
    x, axis = need(args, 0), node.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _transpose(node: Node, args: Args) -> Tensor:
    x = need(args, 0)
    return x.permute(node.get("perm") or list(range(x.ndim))[::-1])


def _squeeze(node: Node, args: Args) -> Tensor:
    x, axes = need(args, 0), numbers(node, args, "axes", 1)
    if axes is None:
        return x.squeeze()
    for axis in sorted((a % x.ndim for a in axes), reverse=True):
        x = x.squeeze(axis)
    return x


def _unsqueeze(node: Node, args: Args) -> Tensor:
    x, axes = need(args, 0), numbers(node, args, "axes", 1) or []
    rank = x.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        x = x.unsqueeze(axis)
    return x


def _slice(node: Node, args: Args) -> Tensor:
    x = need(args, 0)
    starts = numbers(node, args, "starts", 1) or []
    ends = numbers(node, args, "ends", 2) or []
    axes = numbers(node, args, "axes", 3) or list(range(len(starts)))
    steps = numbers(node, args, "steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        places = torch.arange(size)[slice(start, end if abs(end) < 2**31 else None, abs(step))]
        if step < 0:
            places = torch.tensor(range(size)[slice(start, end if end > -(2**31) else None, step)])
        x = x.index_select(axis, places.to(x.device, torch.int64))
    return x


def _split(node: Node, args: Args) -> Sequence[Tensor]:
    x, axis = need(args, 0), node.get("axis", 0)
    sizes = numbers(node, args, "split", 1)
    if sizes is None:
        count = len(node.outputs)
        size = -(-x.shape[axis] // count)
        sizes = [min(size, x.shape[axis] - k * size) for k in range(count)]
    pieces: Any = torch.split
    return list(pieces(x, sizes, dim=axis))


def _gather(node: Node, args: Args) -> Tensor:
    x, at, axis = need(args, 0), need(args, 1), node.get("axis", 0)
    axis = axis % x.ndim
    at = torch.where(at < 0, at + x.shape[axis], at)
    found = x.index_select(axis, at.reshape(-1).to(torch.int64))
    return found.reshape((*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))


def _reduce(function: str) -> Operator:
    def run(node: Node, args: Args) -> Tensor:
        x, axes = need(args, 0), numbers(node, args, "axes", 1)
        if not axes:
            if node.get("noop_with_empty_axes", 0):
                return x
            axes = list(range(x.ndim))
        keep = bool(node.get("keepdims", 1))
        if function == "max":
            return x.amax(axes, keepdim=keep)
        if function == "min":
            return x.amin(axes, keepdim=keep)
        if function == "l2":
            return x.square().sum(axes, keepdim=keep).sqrt()
        if function == "square":
            return x.square().sum(axes, keepdim=keep)
        return x.mean(axes, keepdim=keep) if function == "mean" else x.sum(axes, keepdim=keep)

    return run


def _pad(node: Node, args: Args) -> Tensor:
    x, pads = need(args, 0), numbers(node, args, "pads", 1) or []
    fill = given(args, 2)
    value = float(fill) if fill is not None else float(node.get("value", 0.0))
    axes = numbers(node, args, "axes", 3) or list(range(x.ndim))
    both = [(0, 0)] * x.ndim
    for k, axis in enumerate(axes):
        both[axis] = (pads[k], pads[k + len(axes)])
    mode = node.get("mode", "constant")
    flat = [size for pair in reversed(both) for size in pair]
    if mode == "constant":
        return F.pad(x, flat, value=value)
    while len(flat) > 4 and flat[-2:] == [0, 0]:
        flat = flat[:-2]
    return F.pad(x, flat, mode={"edge": "replicate", "reflect": "reflect"}[mode])


def _expand(node: Node, args: Args) -> Tensor:
    x, shape = need(args, 0), numbers(node, args, "shape", 1) or []
    common: Any = torch.broadcast_shapes
    return x.expand(common(tuple(x.shape), tuple(shape)))


def _constant_of_shape(node: Node, args: Args) -> Tensor:
    value = node.get("value")
    fill: Tensor = torch.zeros(1) if value is None else value
    return fill.reshape(()).expand([int(s) for s in need(args, 0).tolist()])


def _cast(node: Node, args: Args) -> Tensor:
    kind = DTYPES.get(int(node.get("to", 0)))
    if kind is None:
        raise node.refusal("a cast to this type")
    return need(args, 0).to(kind)


def _constant(node: Node, args: Args) -> Tensor:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.get(name)
        if value is not None:
            found: Tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            return found
    raise node.refusal("a constant of this kind")


def _shape(node: Node, args: Args) -> Tensor:
    sizes = list(need(args, 0).shape)
    return torch.tensor(sizes[node.get("start", 0) : node.get("end")], dtype=torch.int64)


def _concat(node: Node, args: Args) -> Tensor:
    return torch.cat([a for a in args if a is not None], dim=node.get("axis", 0))


def _einsum(node: Node, args: Args) -> Tensor:
    return torch.einsum(node.get("equation"), *[a for a in args if a is not None])


def _dropout(node: Node, args: Args) -> Tensor:
    return need(args, 0)


def _hard_sigmoid(node: Node, args: Args) -> Tensor:
    line: Tensor = node.get("alpha", 0.2) * need(args, 0) + node.get("beta", 0.5)
    return line.clamp(0, 1)


def _gelu(node: Node, args: Args) -> Tensor:
    return F.gelu(need(args, 0), approximate=node.get("approximate", "none"))


def _selu(node: Node, args: Args) -> Tensor:
    alpha, gamma = node.get("alpha", 1.6732632), node.get("gamma", 1.0507010)
    return F.elu(need(args, 0), alpha).mul(gamma)


def _prelu(node: Node, args: Args) -> Tensor:
    x = need(args, 0)
    return torch.where(x < 0, need(args, 1) * x, x)


def _where(node: Node, args: Args) -> Tensor:
    return torch.where(need(args, 0), need(args, 1), need(args, 2))


TABLE: dict[str, Operator] = {
    **{
        name: _unary(function)
        for name, function in {
            "Identity": lambda x: x,
            "Relu": torch.relu,
            "Sigmoid": torch.sigmoid,
            "Tanh": torch.tanh,
            "Exp": torch.exp,
            "Log": torch.log,
            "Sqrt": torch.sqrt,
            "Reciprocal": torch.reciprocal,
            "Abs": torch.abs,
            "Neg": torch.neg,
            "Sin": torch.sin,
            "Cos": torch.cos,
            "Atan": torch.atan,
            "Erf": torch.erf,
            "Floor": torch.floor,
            "Ceil": torch.ceil,
            "Sign": torch.sign,
            "Not": torch.logical_not,
            "Softplus": F.softplus,
            "Softsign": F.softsign,
            "HardSwish": F.hardswish,
            "Mish": F.mish,
        }.items()
    },
    **{
        name: _binary(function)
        for name, function in {
            "Add": torch.add,
            "Sub": torch.sub,
            "Mul": torch.mul,
            "Pow": torch.pow,
            "MatMul": torch.matmul,
            "Equal": torch.eq,
            "Less": torch.lt,
            "LessOrEqual": torch.le,
            "Greater": torch.gt,
            "GreaterOrEqual": torch.ge,
            "And": torch.logical_and,
            "Or": torch.logical_or,
        }.items()
    },
    **{
        name: _many(function)
        for name, function in {
            "Sum": torch.add,
            "Max": torch.maximum,
            "Min": torch.minimum,
        }.items()
    },
    **{
        f"Reduce{name}": _reduce(kind)
        for name, kind in {
            "Mean": "mean",
            "Sum": "sum",
            "Max": "max",
            "Min": "min",
            "L2": "l2",
            "SumSquare": "square",
        }.items()
    },
    "Gemm": _gemm,
    "Div": _divide,
    "Softmax": _softmax(torch.softmax),
    "LogSoftmax": _softmax(torch.log_softmax),
    "LeakyRelu": lambda node, args: F.leaky_relu(need(args, 0), node.get("alpha", 0.01)),
    "Elu": lambda node, args: F.elu(need(args, 0), node.get("alpha", 1.0)),
    "Selu": _selu,
    "HardSigmoid": _hard_sigmoid,
    "Gelu": _gelu,
    "PRelu": _prelu,
    "Clip": _clip,
    "Where": _where,
    "BatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "Dropout": _dropout,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Transpose": _transpose,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Slice": _slice,
    "Split": _split,
    "Gather": _gather,
    "Concat": _concat,
    "Pad": _pad,
    "Expand": _expand,
    "Einsum": _einsum,
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Shape": _shape,
}
