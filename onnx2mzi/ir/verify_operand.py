"""What a valid operand is: how a layer meets the host graph."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onnx2mzi.ir.layer import LinearLayer
from onnx2mzi.ir.operand import INTERLEAVED, STACKED, Operand, Window
from onnx2mzi.ir.problem import Problem, Problems

# More axes than numpy's arrays can have make no sense.
MOST_AXES = 64


def binding_problems(layers: Sequence[LinearLayer]) -> Problems:
    """That layers that feed one host input fill its slots, each once, with matrices alike."""
    feeding: dict[str, list[LinearLayer]] = {}
    for layer in layers:
        if not layer.copy_of:
            feeding.setdefault(layer.operand.binding, []).append(layer)
    for name, group in feeding.items():
        where = name or '""'
        counts = sorted({layer.operand.slot[1] for layer in group})
        if counts == [1] and len(group) > 1:
            yield Problem(where, f"{len(group)} layers feed this host input")
        elif counts[-1] != len(group) or not _each_once(group):
            yield Problem(
                where, f"not each of the {counts[-1]} slots of this host input is fed once"
            )
        elif len({_fed(layer) for layer in group}) > 1 or len(counts) > 1:
            yield Problem(where, "layers feed this host input with matrices that are not alike")


def copy_problems(layers: Sequence[LinearLayer]) -> Problems:
    """That copies are of a layer that is there, does the same, and leaves vectors to them."""
    originals = {layer.name: layer for layer in layers if not layer.copy_of}
    for layer in layers:
        first, count = layer.operand.turn
        if bool(layer.copy_of) != bool(first):
            yield Problem(layer.name, f"turn {first} of {count} and a copy of '{layer.copy_of}'")
        original = originals.get(layer.copy_of)
        if not layer.copy_of:
            continue
        if original is None:
            yield Problem(layer.name, f"a copy of '{layer.copy_of}', which is not there")
        elif replace(layer.operand, turn=original.operand.turn) != original.operand:
            yield Problem(layer.name, f"a copy of '{layer.copy_of}' with another operand")
        elif original.operand.turn[1] != count or not np.array_equal(original.weight, layer.weight):
            yield Problem(layer.name, f"is unlike the layer '{layer.copy_of}' that it is a copy of")


def _each_once(group: Sequence[LinearLayer]) -> bool:
    return sorted(layer.operand.slot[0] for layer in group) == list(range(len(group)))


def _fed(layer: LinearLayer) -> tuple[object, ...]:
    twice = 2 if layer.operand.parts else 1
    shape = tuple(twice * size for size in layer.weight.shape)
    return shape, layer.operand.transposed, layer.operand.dtype


def operand_problems(operand: Operand, columns: int, where: str) -> Problems:
    """That the axes, shares and the window of an operand make sense for vectors of `columns`."""
    view = operand.view
    axes = [operand.axis, *view.more_axes, *(axis for axis, _ in view.at)]
    if not all(-MOST_AXES <= axis < MOST_AXES for axis in axes):
        yield Problem(where, f"the operand's axes are {axes}, not in {-MOST_AXES}..{MOST_AXES - 1}")
    elif len(set(axes)) < len(axes):
        yield Problem(where, f"the operand's axes {axes} are not all different")
    if any(index < 0 for _, index in view.at):
        yield Problem(where, f"the operand's places {list(view.at)} are negative")
    for what, (index, count) in (
        ("slot", operand.slot),
        ("part", view.part),
        ("turn", operand.turn),
    ):
        if not 0 <= index < count:
            yield Problem(where, f"the operand's {what} is {index} of {count}")
    if view.window is not None:
        yield from window_problems(view.window, columns, where)
    if operand.parts not in ("", STACKED, INTERLEAVED):
        yield Problem(where, f"the operand's parts are '{operand.parts}'")
    try:
        np.dtype(operand.dtype)
    except TypeError:
        yield Problem(where, f"the operand's dtype {operand.dtype!r} is unknown")


def window_problems(window: Window, columns: int, where: str) -> Problems:
    """That a window has as many numbers as axes, all possible, and fits into the vectors."""
    axes = len(window.kernel)
    lengths = (len(window.strides), len(window.dilations), len(window.pads))
    if not axes or lengths != (axes, axes, 2 * axes):
        yield Problem(where, f"the window has {axes} axes and {lengths} strides, dilations, pads")
    elif min(*window.kernel, *window.strides, *window.dilations) < 1 or min(window.pads) < 0:
        yield Problem(where, f"the window {window} has numbers that are too small")
    elif columns % math.prod(window.kernel):
        yield Problem(where, f"a window of {list(window.kernel)} in vectors of {columns}")
    if window.same not in ("", "upper", "lower"):
        yield Problem(where, f"the window is padded '{window.same}', not 'upper' or 'lower'")
