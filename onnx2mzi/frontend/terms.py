"""Products as they are written in a model: what the terms of a complex product can be."""

from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from onnx2mzi.frontend.attributes import integer, real
from onnx2mzi.frontend.channels import Known
from onnx2mzi.physics.arrays import Real


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A linear node: `weight` (rows first) times `source`, plus `bias` (M,). `kind` is what two
    of them must share to be added, `axis` that of the vectors in and out."""

    node: NodeProto
    source: str
    name: str
    weight: Real
    bias: Real
    dtype: np.dtype[np.floating]
    kind: tuple[str, ...]
    axis: int


def product_of(node: NodeProto, known: Known) -> Product | None:
    """The product that a MatMul, Gemm or Conv is; None for one that cannot be added to others."""
    if node.op_type not in ("MatMul", "Gemm", "Conv") or not all(node.input[:2]):
        return None
    if len(node.input) < 2:
        return None
    right = known.values.static(node.input[1])
    if right == known.values.static(node.input[0]):
        return None
    name, source = (node.input[1], node.input[0]) if right else (node.input[0], node.input[1])
    value = known.values.value(name)
    exact = value is not None and value.dtype.kind == "f" and value.dtype.itemsize in (4, 8)
    if value is None or not exact or not value.size or not np.isfinite(value).all():
        return None
    weight, axis = value.astype(np.float64), -1 if right else -2
    kind: tuple[str, ...] = ()
    match node.op_type:
        case "Conv":
            if value.ndim < 3 or not right or integer(node, "group", 1) != 1:
                return None
            told = (str(a) for a in sorted(node.attribute, key=lambda a: str(a.name)))
            kind, axis = ("Conv", *told), 1 - value.ndim
        case _ if value.ndim != 2:
            return None
        case "Gemm":
            if not right or integer(node, "transA", 0):
                return None
            weight = weight if integer(node, "transB", 0) else weight.T
            weight = real(node, "alpha", 1.0) * weight
            kind = ("MatMul", "right")
        case _:
            weight = weight.T if right else weight
            kind = ("MatMul", "right" if right else "left")
    bias = _bias(node, len(weight), known)
    return bias if bias is None else Product(
        node, source, name, weight, bias, value.dtype, kind, axis
    )  # fmt: skip


def _bias(node: NodeProto, rows: int, known: Known) -> Real | None:
    name = node.input[2] if len(node.input) > 2 else ""
    if not name:
        return np.zeros(rows)
    value = known.values.value(name)
    found = None if value is None else offset_of(value, rows, -1)
    factor = real(node, "beta", 1.0) if node.op_type == "Gemm" else 1.0
    return None if found is None else factor * found


def offset_of(value: np.ndarray, rows: int, axis: int) -> Real | None:
    """A constant added along `axis` of the outputs, as a vector (rows,)."""
    if value.dtype.kind != "f" or value.dtype.itemsize < 4 or not np.isfinite(value).all():
        return None
    if value.size == 1:
        return np.full(rows, float(value.reshape(-1)[0]))
    along = value.ndim + axis
    if value.size != rows or along < 0 or value.shape[along] != rows:
        return None
    return value.reshape(-1).astype(np.float64)
