"""Constant folding of what quantized weights come through, as onnxruntime computes it."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from onnx import NodeProto, TensorProto

from onnx2mzi.frontend.attributes import attribute, integer

_TYPES: Mapping[int, str] = MappingProxyType(
    {
        TensorProto.INT8: "int8",
        TensorProto.UINT8: "uint8",
        TensorProto.INT16: "int16",
        TensorProto.UINT16: "uint16",
    }
)
_WHOLE = ("int4", "uint4", "int2", "uint2", "int8", "uint8", "int16", "uint16", "int32")


def dequantized(node: NodeProto, inputs: list[np.ndarray | None]) -> np.ndarray:
    """(x - zero) * scale in the scale's type. Raises ValueError or TypeError for what is none."""
    x, scale, zero = _operands(node, inputs)
    if x.dtype.name not in _WHOLE or integer(node, "output_dtype", 0):
        raise TypeError("not an integer, or another type of result")
    steps = x.astype(np.int32)
    if zero is not None:
        steps = steps - zero.astype(np.int32)
    return np.asarray(steps.astype(scale.dtype) * scale)


def quantized(node: NodeProto, inputs: list[np.ndarray | None]) -> np.ndarray:
    """round(x / scale) + zero, ties to even, held within the type of `zero` (default uint8)."""
    x, scale, zero = _operands(node, inputs)
    told = integer(node, "output_dtype", 0)
    name = _TYPES[told] if told else "uint8" if zero is None else zero.dtype.name
    if x.dtype != scale.dtype or x.dtype.kind != "f" or name not in _TYPES.values():
        raise TypeError("types that are not folded")
    ends = np.iinfo(name)
    steps = np.rint(x / scale)
    if zero is not None:
        steps = steps + zero.astype(x.dtype)
    if np.isnan(steps).any():
        raise ValueError("NaN is no integer")
    return np.asarray(np.clip(steps, ends.min, ends.max).astype(name))


def _operands(
    node: NodeProto, inputs: list[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """x, and scale and zero point in shapes that meet its entries."""
    x, scale = inputs[0], inputs[1]
    zero = inputs[2] if len(inputs) > 2 else None
    if x is None or scale is None or scale.dtype.kind != "f":
        raise ValueError("an input is missing")
    axis = integer(node, "axis", 1)
    block = integer(node, "block_size", 0)
    if attribute(node, "precision") is not None:
        raise TypeError("another precision")
    return (
        x,
        _spread(scale, x, axis, block),
        None if zero is None else _spread(zero, x, axis, block),
    )


def _spread(values: np.ndarray, x: np.ndarray, axis: int, block: int) -> np.ndarray:
    if values.size == 1 and values.ndim <= 1:
        return values.reshape(())
    axis = axis + x.ndim if axis < 0 else axis
    if block:
        spread = np.repeat(values, block, axis)
        return spread[tuple(map(slice, x.shape))]
    if values.shape != x.shape[axis : axis + 1]:
        raise ValueError("scales that do not fit")
    return values.reshape(-1, *[1] * (x.ndim - axis - 1))
