"""What Conv and ConvTranspose share: a constant kernel and the attributes around it, checked."""

import math
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from onnx2mzi.frontend.attributes import attribute, integer, integers
from onnx2mzi.frontend.lowerings.base import MOST_PARTS, Scope, Stays, unsuited
from onnx2mzi.ir import Window

_SAME = {"NOTSET": "", "VALID": "", "SAME_UPPER": "upper", "SAME_LOWER": "lower"}
_MADE = "its kernel is computed at run time"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's window and number of groups; `rows` (groups, channels, rest) is the kernel,
    its first axis cut into groups and all that follow made one."""

    window: Window
    groups: int
    rows: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The kernel's own shape."""
        groups, channels, rest = self.rows.shape
        volume = math.prod(self.window.kernel)
        return groups * channels, rest // volume, *self.window.kernel

    @property
    def channels(self) -> int:
        """The axis of the channels, counted from the last."""
        return -1 - len(self.window.kernel)


def constant_kernel(node: NodeProto, scope: Scope) -> Kernel | Stays | None:
    """The kernel of a Conv or ConvTranspose; None if nothing in the node is linear at run time.

    Raises InputError for what ONNX forbids.
    """
    if len(node.input) < 2 or not all(node.input[:2]):
        raise scope.error(f"a {node.op_type} has at least two inputs")
    source, name = node.input[:2]
    if scope.constants.static(source) and scope.constants.static(name):
        return None
    weight = scope.weight(name)
    if weight is None:
        return scope.no_constant([name]) if scope.constants.static(name) else Stays(_MADE)
    unfit = unsuited(weight)
    if unfit:
        return unfit
    found = _window(node, weight.shape, scope)
    if isinstance(found, Stays):
        return found
    window, groups = found
    transposed = node.op_type == "ConvTranspose"
    _check_bias(node, weight.shape[1] * groups if transposed else weight.shape[0], scope)
    return Kernel(window, groups, weight.reshape(groups, weight.shape[0] // groups, -1))


def _check_bias(node: NodeProto, outputs: int, scope: Scope) -> None:
    name = node.input[2] if len(node.input) > 2 else ""
    bias = scope.constants.value(name) if name else None
    if bias is None:
        return
    if bias.dtype.kind == "f" and not np.isfinite(bias).all():
        raise scope.error(f"bias '{name}' has NaN or infinite entries")
    if bias.shape != (outputs,):
        raise scope.error(f"bias '{name}' has shape {list(bias.shape)} for {outputs} outputs")


def _window(node: NodeProto, shape: tuple[int, ...], scope: Scope) -> tuple[Window, int] | Stays:
    if len(shape) < 3:
        raise scope.error(f"its kernel has shape {list(shape)}, not three dimensions or more")
    kernel = tuple(shape[2:])
    told = integers(node, "kernel_shape")
    if told is not None and tuple(told) != kernel:
        raise scope.error(f"kernel_shape is {told}, but its kernel has shape {list(shape)}")
    axes = len(kernel)
    found = {}
    for name, count, least in (("strides", axes, 1), ("dilations", axes, 1), ("pads", 2 * axes, 0)):
        values = integers(node, name) or [least] * count
        if len(values) != count or min(values) < least:
            raise scope.error(f"{name} is {values}, not {count} numbers of {least} or more")
        found[name] = tuple(values)
    groups = integer(node, "group", 1)
    if groups < 1 or shape[0] % groups:
        raise scope.error(f"group is {groups}, which does not divide its {shape[0]} channels")
    if groups > MOST_PARTS:
        return Stays(f"it has {groups} groups, more than {MOST_PARTS}")
    word = _word(node)
    if word not in _SAME:
        raise scope.error(f"auto_pad is '{word}'", f"known are {', '.join(_SAME)}")
    pads = found["pads"] if word == "NOTSET" else (0,) * 2 * axes
    window = Window(kernel, found["strides"], found["dilations"], pads, _SAME[word])
    return window, groups


def _word(node: NodeProto) -> str:
    found = attribute(node, "auto_pad")
    return "NOTSET" if found is None else found.s.decode("utf-8", "replace") or "NOTSET"
