"""What constant folding can compute: one small numpy function per ONNX operator.

Every function takes the node, its constant inputs (None where one is left out), and returns
the value of the node's only output. A node that numpy cannot compute raises ValueError,
TypeError, IndexError or OverflowError and is not folded.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from onnx import NodeProto, TensorProto

from onnx2mzi.frontend.attributes import attribute, integer, integers
from onnx2mzi.frontend.fold_quant import dequantized, quantized

Inputs = list[np.ndarray | None]
Fold = Callable[[NodeProto, Inputs], np.ndarray]

# The most entries that one folded value may have.
MOST = 1 << 27

_CASTS: Mapping[int, str] = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT16: "float16",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.BFLOAT16: "bfloat16",
}


def _given(inputs: Inputs, k: int) -> np.ndarray:
    value = inputs[k] if k < len(inputs) else None
    if value is None:
        raise ValueError("an input is missing")
    return value


def _numbers(value: np.ndarray) -> list[int]:
    return [int(i) for i in value.reshape(-1)]


def _bounded(entries: int) -> None:
    if entries > MOST:
        raise ValueError("too large to fold")


def _identity(node: NodeProto, inputs: Inputs) -> np.ndarray:
    return _given(inputs, 0)


def _transpose(node: NodeProto, inputs: Inputs) -> np.ndarray:
    return _given(inputs, 0).transpose(integers(node, "perm"))


def _cast(node: NodeProto, inputs: Inputs) -> np.ndarray:
    x = _given(inputs, 0)
    to = np.dtype(_CASTS[integer(node, "to", 0)])
    # What a float outside an integer's range becomes is not the same everywhere.
    floats = ("f", "V")
    known = x.dtype.kind in "fiub" or x.dtype.name == "bfloat16"
    if not known or (x.dtype.kind in floats and to.kind not in floats):
        raise TypeError("cast")
    return x.astype(to)


def _reshape(node: NodeProto, inputs: Inputs) -> np.ndarray:
    x = _given(inputs, 0)
    shape = _numbers(_given(inputs, 1))
    if not integer(node, "allowzero", 0):
        shape = [x.shape[k] if d == 0 else d for k, d in enumerate(shape)]
    return x.reshape(shape)


def _flatten(node: NodeProto, inputs: Inputs) -> np.ndarray:
    x = _given(inputs, 0)
    axis = integer(node, "axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, -1) if x.size else x.reshape(rows, 0)


def _axes(node: NodeProto, inputs: Inputs) -> tuple[int, ...] | None:
    if len(inputs) > 1 and inputs[1] is not None:
        return tuple(_numbers(inputs[1]))
    axes = integers(node, "axes")
    return None if axes is None else tuple(axes)


def _squeeze(node: NodeProto, inputs: Inputs) -> np.ndarray:
    return np.squeeze(_given(inputs, 0), _axes(node, inputs))


def _unsqueeze(node: NodeProto, inputs: Inputs) -> np.ndarray:
    axes = _axes(node, inputs)
    if axes is None:
        raise ValueError("no axes")
    return np.expand_dims(_given(inputs, 0), axes)


def _arithmetic(ufunc: np.ufunc) -> Fold:
    def fold(node: NodeProto, inputs: Inputs) -> np.ndarray:
        if len(inputs) != 2:
            raise ValueError("not two operands")
        a, b = _given(inputs, 0), _given(inputs, 1)
        if a.dtype != b.dtype or a.dtype.kind not in "fi":
            raise TypeError("operands differ in type")
        if ufunc is np.divide and a.dtype.kind != "f":
            raise TypeError("division of integers")
        shape = np.broadcast_shapes(a.shape, b.shape)
        _bounded(int(np.prod(shape, dtype=np.float64)))
        return np.asarray(ufunc(a, b), a.dtype)

    return fold


def _elementwise(ufunc: np.ufunc) -> Fold:
    def fold(node: NodeProto, inputs: Inputs) -> np.ndarray:
        x = _given(inputs, 0)
        if x.dtype.kind not in "fi":
            raise TypeError("no number")
        return np.asarray(ufunc(x), x.dtype)

    return fold


def _concat(node: NodeProto, inputs: Inputs) -> np.ndarray:
    parts = [_given(inputs, k) for k in range(len(inputs))]
    _bounded(sum(part.size for part in parts))
    return np.concatenate(parts, integer(node, "axis", 0))


def _gather(node: NodeProto, inputs: Inputs) -> np.ndarray:
    x, index = _given(inputs, 0), _given(inputs, 1)
    axis = integer(node, "axis", 0)
    _bounded(x.size // max(x.shape[axis], 1) * index.size)
    return np.take(x, index, axis)


def _slice(node: NodeProto, inputs: Inputs) -> np.ndarray:
    x = _given(inputs, 0)
    if len(inputs) > 1:
        starts, ends = _numbers(_given(inputs, 1)), _numbers(_given(inputs, 2))
        axes = _numbers(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
        steps = _numbers(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else None
    else:
        starts, ends = integers(node, "starts") or [], integers(node, "ends") or []
        axes, steps = integers(node, "axes"), None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    cut = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # Backwards to the front: numpy has no number for the end before the first.
        before = step < 0 and end < -x.shape[axis]
        cut[axis] = slice(start, None if before else end, step)
    return x[tuple(cut)]


def split_pieces(node: NodeProto, inputs: Inputs) -> list[np.ndarray]:
    """All outputs of a Split; in equal pieces, the last one smaller, unless it says otherwise."""
    x, axis = _given(inputs, 0), integer(node, "axis", 0)
    size, count = x.shape[axis], len(node.output)
    told = integers(node, "split")
    if len(inputs) > 1 and inputs[1] is not None:
        told = _numbers(inputs[1])
    if told is None:
        piece = -(-size // max(count, 1))
        told = [min(piece, size - k * piece) for k in range(count)]
    if len(told) != count or min(told, default=-1) < 0 or sum(told) != size:
        raise ValueError("pieces that do not fit")
    return np.split(x, np.cumsum(told)[:-1], axis)


def _constant(node: NodeProto, inputs: Inputs) -> np.ndarray:
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        found = attribute(node, name)
        if found is not None:
            return np.asarray(found.f if dtype is np.float32 else found.i, dtype)
    found = attribute(node, "value_floats")
    if found is not None:
        return np.asarray(found.floats, np.float32)
    found = attribute(node, "value_ints")
    if found is not None:
        return np.asarray(found.ints, np.int64)
    raise TypeError("a constant of another kind")


FOLDS: Mapping[str, Fold] = MappingProxyType(
    {
        "Abs": _elementwise(np.abs),
        "Add": _arithmetic(np.add),
        "Cast": _cast,
        "Ceil": _elementwise(np.ceil),
        "Concat": _concat,
        "Constant": _constant,
        "DequantizeLinear": dequantized,
        "Div": _arithmetic(np.divide),
        "Flatten": _flatten,
        "Floor": _elementwise(np.floor),
        "Gather": _gather,
        "Identity": _identity,
        "Max": _arithmetic(np.maximum),
        "Min": _arithmetic(np.minimum),
        "Mul": _arithmetic(np.multiply),
        "Neg": _elementwise(np.negative),
        "QuantizeLinear": quantized,
        "Reshape": _reshape,
        "Round": _elementwise(np.rint),
        "Sign": _elementwise(np.sign),
        "Slice": _slice,
        "Sqrt": _elementwise(np.sqrt),
        "Squeeze": _squeeze,
        "Sub": _arithmetic(np.subtract),
        "Transpose": _transpose,
        "Unsqueeze": _unsqueeze,
    }
)
