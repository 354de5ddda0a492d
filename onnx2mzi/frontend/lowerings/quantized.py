"""Products of integers: QLinearMatMul, MatMulInteger, QLinearConv and ConvInteger.

The layer's matrix holds the integers of the weight less their zero point, W = Q - z; scales stay
electronic. What the chip realises is brought back to the integers that the host's operator
takes, q = clip(floor(W + z + 1/2)), so that a chip that is exact to half a step gives the very
integers of the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from onnx2mzi.frontend.lowerings.base import Lowered, Lowering, Scope, Stays, kept_with
from onnx2mzi.frontend.lowerings.conv import lower_conv
from onnx2mzi.frontend.lowerings.matmul import lower_matmul


@dataclass(frozen=True, slots=True)
class _Form:
    """The product of floats that an operator is, where its operands and zero points stand."""

    product: str
    lowering: Lowering
    operands: tuple[int, int]
    zeros: tuple[int, int]


_FORMS: Mapping[str, _Form] = MappingProxyType(
    {
        "ConvInteger": _Form("Conv", lower_conv, (0, 1), (2, 3)),
        "MatMulInteger": _Form("MatMul", lower_matmul, (0, 1), (2, 3)),
        "QLinearConv": _Form("Conv", lower_conv, (0, 3), (2, 5)),
        "QLinearMatMul": _Form("MatMul", lower_matmul, (0, 3), (2, 5)),
    }
)
_TYPES: Mapping[str, int] = MappingProxyType({"int8": TensorProto.INT8, "uint8": TensorProto.UINT8})


def lower_quantized(node: NodeProto, scope: Scope) -> Lowered | Stays | None:
    """The layers of the product of floats; the operator stays, its weight from the bindings.

    The vectors that the layers take are integers too, less their zero point.
    """
    form = _FORMS[node.op_type]
    least = max(*form.operands, *form.zeros) + 1 if node.op_type.startswith("QLinear") else 2
    if len(node.input) < least or not all(node.input[k] for k in form.operands):
        raise scope.error(f"a {node.op_type} has at least {least} inputs")
    names = [node.input[k] for k in form.operands]
    if all(map(scope.constants.static, names)):
        return None
    right = scope.constants.value(names[1])
    left = scope.constants.value(names[0]) if right is None and form.product == "MatMul" else None
    which, weight = (0, left) if right is None else (1, right)
    if weight is None:
        return scope.no_constant(names[::-1])
    if weight.dtype.name not in _TYPES:
        return Stays(f"its weight is of type {weight.dtype}, not int8 or uint8")
    zero = _zero(node, form, which, weight, scope)
    if isinstance(zero, Stays):
        return zero
    light = scope.inner("light")
    inner = replace(
        scope,
        constants=scope.constants.extended({names[which]: weight.astype(np.float32) - zero}),
        ranks={**scope.ranks, light: scope.ranks.get(names[1 - which], 0)},
    )
    found = form.lowering(_product(node, form, names, which, light), inner)
    if not isinstance(found, Lowered):
        return found
    tail, constants = _back(found.nodes[-1].input[which], weight.dtype, zero, scope)
    kept = kept_with(node, form.operands[which], tail[-1].output[0])
    before = _light(node, form, 1 - which, light, scope)
    return Lowered(
        found.parts,
        (*before, *found.nodes[:-1], *tail, kept),
        (*found.constants, *constants),
    )


def _product(node: NodeProto, form: _Form, names: list[str], which: int, light: str) -> NodeProto:
    inputs = [light, names[1]] if which else [names[0], light]
    product: NodeProto = helper.make_node(form.product, inputs, list(node.output), node.name)
    product.attribute.extend(node.attribute)
    return product


def _input(node: NodeProto, k: int) -> str:
    return node.input[k] if k < len(node.input) else ""


def _zero(
    node: NodeProto, form: _Form, which: int, weight: np.ndarray, scope: Scope
) -> np.ndarray | Stays:
    """The weight's zero point as float32, in a shape that meets the weight's entries."""
    name = _input(node, form.zeros[which])
    if not name:
        return np.zeros((), np.float32)
    value = scope.constants.value(name)
    if value is None:
        return Stays(f"its zero point '{name}' is no constant")
    zero = value.astype(np.float32)
    if zero.size == 1:
        return zero.reshape(())
    if zero.ndim == 1 and form.product == "Conv":
        zero = zero.reshape(-1, *[1] * (weight.ndim - 1))
    elif zero.ndim == 1 and which == 0:
        zero = zero[:, None]
    try:
        fits = np.broadcast_shapes(zero.shape, weight.shape) == weight.shape
    except ValueError:
        fits = False
    if not fits:
        raise scope.error(
            f"zero point '{name}' has shape {list(value.shape)} for a weight of shape "
            f"{list(weight.shape)}"
        )
    return zero


def _light(
    node: NodeProto, form: _Form, which: int, light: str, scope: Scope
) -> tuple[NodeProto, ...]:
    """Nodes that make of the other operand what the light carries."""
    name, zero = node.input[form.operands[which]], _input(node, form.zeros[which])
    if not zero:
        return (helper.make_node("Cast", [name], [light], to=TensorProto.FLOAT),)
    cast, off = scope.inner("light_cast"), scope.inner("light_zero")
    return (
        helper.make_node("Cast", [name], [cast], to=TensorProto.FLOAT),
        helper.make_node("Cast", [zero], [off], to=TensorProto.FLOAT),
        helper.make_node("Sub", [cast, off], [light]),
    )


def _back(
    fed: str, dtype: np.dtype[np.integer], zero: np.ndarray, scope: Scope
) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from the realised matrix to the integers, and their constants."""
    ends = np.iinfo(dtype)
    values = {
        "Add": np.asarray(zero + np.float32(0.5)),
        "Floor": None,
        "Max": np.float32(ends.min),
        "Min": np.float32(ends.max),
    }
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    for op, value in values.items():
        inputs = [fed]
        if value is not None:
            constants.append(
                numpy_helper.from_array(
                    np.asarray(value, np.float32), scope.inner(f"grid_{op.lower()}_by")
                )
            )
            inputs.append(constants[-1].name)
        fed = scope.inner(f"grid_{op.lower()}")
        nodes.append(helper.make_node(op, inputs, [fed]))
    nodes.append(helper.make_node("Cast", [fed], [scope.inner("grid")], to=_TYPES[dtype.name]))
    return nodes, constants
