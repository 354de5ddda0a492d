"""The input vectors of a layer, cut out of a host tensor; how many there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from onnx2mzi.emulate.parts import doubled, vectors
from onnx2mzi.errors import InputError
from onnx2mzi.ir import LinearLayer, Operand, Window
from onnx2mzi.physics.arrays import Matrix


@dataclass(frozen=True, slots=True)
class _Axes:
    """Where vectors lie in a tensor: `vector` axes, (axis, index) of `fixed` ones."""

    vector: tuple[int, ...]
    fixed: tuple[tuple[int, int], ...]


def columns(tensor: np.ndarray, layer: LinearLayer, chosen: np.ndarray | None = None) -> Matrix:
    """The layer's vectors in a host tensor as columns (n, B), in the tensor's order; float64, or
    complex128 if the operand has parts.

    `chosen` (B,) are indices of positions; all if None. Raises InputError if the tensor's shape
    is not what the layer needs.
    """
    operand, n = layer.operand, layer.weight.shape[1]
    turn, turns = operand.turn
    if turns > 1:
        own = np.arange(positions(tensor.shape, layer)) if chosen is None else chosen
        chosen = turn + turns * own
    try:
        where = _axes(tensor.shape, operand)
        rows = _rows(tensor, operand, where, chosen)
    except (ValueError, IndexError) as error:
        raise _refused(tensor.shape, layer, str(error)) from None
    wanted = doubled(n, operand.parts)
    if len(rows) != wanted:
        message = f"tensor '{operand.source}' holds vectors of {len(rows)}, not {wanted}"
        raise InputError(message, where=str(layer.loc))
    found = vectors(rows, operand.parts)
    if operand.parts:
        return np.ascontiguousarray(found, np.complex128)
    return np.ascontiguousarray(found, np.float64)


def positions(shape: Sequence[int], layer: LinearLayer) -> int:
    """How many vectors the layer takes from a tensor of this shape. Raises InputError."""
    operand = layer.operand
    try:
        where = _axes(shape, operand)
        free = _free(shape, operand, where)
    except (ValueError, IndexError) as error:
        raise _refused(shape, layer, str(error)) from None
    turn, turns = operand.turn
    return max(-(-(math.prod(free) - turn) // turns), 0)


def padded(shape: Sequence[int], window: Window) -> list[tuple[int, int]]:
    """Zeros before and behind the last axes of a tensor of this shape."""
    axes = len(window.kernel)
    if not window.same:
        return list(zip(window.pads[:axes], window.pads[axes:], strict=True))
    found = []
    for size, kernel, stride, dilation in zip(
        shape[-axes:], window.kernel, window.strides, window.dilations, strict=True
    ):
        count = -(-size // stride)
        total = max((count - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        found.append((less, more) if window.same == "upper" else (more, less))
    return found


def _refused(shape: Sequence[int], layer: LinearLayer, why: str) -> InputError:
    message = f"tensor '{layer.operand.source}' has shape {list(shape)}: {why}"
    return InputError(message, where=str(layer.loc))


def _axes(shape: Sequence[int], operand: Operand) -> _Axes:
    rank, view = len(shape), operand.view
    if rank == 1 and not view.more_axes and not view.window:
        return _Axes((0,), ())
    vector = tuple(_axis(axis, rank) for axis in (operand.axis, *view.more_axes))
    fixed = tuple(
        (axis % rank, index if shape[axis % rank] > 1 else 0)
        for axis, index in view.at
        if -rank <= axis < rank
    )
    if view.window and rank < len(view.window.kernel) + 1:
        raise ValueError("it has too few dimensions")
    taken = [*vector, *(axis for axis, _ in fixed)]
    if view.window:
        taken += range(rank - len(view.window.kernel), rank)
    if len(set(taken)) < len(taken):
        raise ValueError("the layer's axes fall together")
    return _Axes(vector, fixed)


def _axis(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(f"it has no axis {axis}")
    return axis % rank


def _free(shape: Sequence[int], operand: Operand, where: _Axes) -> tuple[int, ...]:
    """Lengths of the axes over which positions run, in the tensor's order."""
    window = operand.view.window
    sizes = list(shape)
    if window is not None:
        for k, (before, behind) in enumerate(padded(shape, window), -len(window.kernel)):
            reach = (window.kernel[k] - 1) * window.dilations[k] + 1
            sizes[k] = (shape[k] + before + behind - reach) // window.strides[k] + 1
            if sizes[k] < 1:
                raise ValueError(f"a window of {list(window.kernel)} does not fit in")
    taken = {*where.vector, *(axis for axis, _ in where.fixed)}
    return tuple(size for axis, size in enumerate(sizes) if axis not in taken)


def _rows(
    tensor: np.ndarray, operand: Operand, where: _Axes, chosen: np.ndarray | None
) -> np.ndarray:
    """Shape (n, B): the entries of every vector, with a window once per place in the window."""
    view = operand.view
    free = _free(tensor.shape, operand, where)
    count = math.prod(free)
    which = np.arange(count) if chosen is None else chosen
    # Vector axes to the front, fixed ones gone, the others stay in their order.
    order = [axis for axis, _ in where.fixed]
    rest = [axis for axis in range(tensor.ndim) if axis not in {*where.vector, *order}]
    turned = tensor.transpose([*order, *where.vector, *rest])
    turned = turned[tuple(index for _, index in where.fixed)]
    index, parts = view.part
    run, left = divmod(turned.shape[0], parts)
    if left:
        raise ValueError(f"{turned.shape[0]} do not divide into {parts}")
    turned = turned[index * run : (index + 1) * run]
    vectors = len(where.vector)
    window = view.window
    if window is None:
        flat: np.ndarray = turned.reshape(math.prod(turned.shape[:vectors]), -1)
        if chosen is not None:
            flat = flat[:, chosen]
        return flat
    edges = padded(tensor.shape, window)
    turned = np.pad(turned, [(0, 0)] * (turned.ndim - len(edges)) + edges)
    entries = math.prod(turned.shape[:vectors])
    turned = turned.reshape(entries, *turned.shape[vectors:])
    at = np.unravel_index(which, free)
    plain, slid = at[: len(free) - len(edges)], at[len(free) - len(edges) :]
    starts = [i * stride for i, stride in zip(slid, window.strides, strict=True)]
    found = np.empty((entries, math.prod(window.kernel), len(which)), turned.dtype)
    for k, offset in enumerate(product(*map(range, window.kernel))):
        moved = (s + o * d for s, o, d in zip(starts, offset, window.dilations, strict=True))
        key: tuple[Any, ...] = (slice(None), *plain, *moved)
        found[:, k] = turned[key]
    return found.reshape(entries * found.shape[1], len(which))
