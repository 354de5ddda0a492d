"""Where the channels of a tensor go when it is reshaped."""

import math
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from onnx2mzi.frontend.attributes import integers
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.shapes import Shape


@dataclass(frozen=True, slots=True)
class Track:
    """Entry i along `axis` (counted from the front) is of channel (i // inner) % count."""

    axis: int
    count: int
    inner: int = 1

    def channels(self, length: int) -> np.ndarray | None:
        """The channel of every entry of the axis, None if it cannot have this length."""
        if length % (self.inner * self.count):
            return None
        return np.arange(length) // self.inner % self.count


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a graph: constants, shapes, and ranks where shapes are not."""

    values: Constants
    shapes: dict[str, Shape]
    ranks: dict[str, int]

    def rank(self, name: str) -> int | None:
        """The number of dimensions of a value."""
        shape = self.shapes.get(name)
        return self.ranks.get(name) if shape is None else len(shape)


def through(track: Track, node: NodeProto, known: Known, *, backwards: bool) -> Track | None:
    """The track on the other side of a node that only reshapes, None if it is lost.

    The track is that of the node's output if `backwards`, else that of its first input.
    """
    match node.op_type:
        case "Identity":
            return track
        case "Dropout":
            # With more inputs it may be in training mode.
            return track if len(node.input) == 1 and len(node.output) == 1 else None
        case "Transpose":
            return _transposed(track, node, known, backwards=backwards)
        case "Unsqueeze" | "Squeeze":
            return _squeezed(track, node, known, backwards=backwards)
        case "Reshape" | "Flatten":
            near, far = known.shapes.get(node.input[0]), known.shapes.get(node.output[0])
            if backwards:
                near, far = far, near
            return None if near is None or far is None else reshaped_track(track, near, far)
    return None


def _transposed(track: Track, node: NodeProto, known: Known, *, backwards: bool) -> Track | None:
    order = integers(node, "perm")
    if order is None:
        rank = known.rank(node.input[0])
        if rank is None:
            return None
        order = list(range(rank))[::-1]
    if sorted(order) != list(range(len(order))) or track.axis >= len(order):
        return None
    axis = order[track.axis] if backwards else order.index(track.axis)
    return Track(axis, track.count, track.inner)


def _squeezed(track: Track, node: NodeProto, known: Known, *, backwards: bool) -> Track | None:
    squeeze = node.op_type == "Squeeze"
    larger, smaller = node.input[0], node.output[0]
    if not squeeze:
        larger, smaller = smaller, larger
    axes = _axes(node, known)
    if axes is None:
        shape = known.shapes.get(larger)
        if not squeeze or shape is None or not all(isinstance(d, int) for d in shape):
            return None
        axes = [k for k, d in enumerate(shape) if d == 1]
    if min(axes, default=0) < 0:
        rank, less = known.rank(larger), known.rank(smaller)
        if rank is None and less is not None:
            rank = less + len(axes)
        if rank is None:
            return None
        axes = [axis + rank if axis < 0 else axis for axis in axes]
    if squeeze == backwards:
        axis = track.axis
        for extra in sorted(axes):
            axis += extra <= axis
        return Track(axis, track.count, track.inner)
    if track.axis in axes:
        return None
    axis = track.axis - sum(extra < track.axis for extra in axes)
    return Track(axis, track.count, track.inner)


def _axes(node: NodeProto, known: Known) -> list[int] | None:
    if len(node.input) > 1 and node.input[1]:
        value = known.values.value(node.input[1])
        return None if value is None else [int(axis) for axis in value.reshape(-1)]
    return integers(node, "axes")


def reshaped_track(track: Track, near: Shape, far: Shape) -> Track | None:
    """The track of a tensor of shape `near` where it has the shape `far`.

    The channels' axis may be merged into another with others, or be one of those that another
    was split into; what lies across two axes of `far` is lost.
    """
    if track.axis >= len(near):
        return None
    i, j = len(near), len(far)
    while i > track.axis:
        ends = i, j
        i, j = i - 1, j - 1
        if i < 0 or j < 0:
            return None
        one, other = near[i], far[j]
        while one != other and isinstance(one, int) and isinstance(other, int):
            # Numbers that never meet run out of axes.
            if one < other:
                i -= 1
                size = near[i] if i >= 0 else None
                one = one * size if isinstance(size, int) else None
            else:
                j -= 1
                size = far[j] if j >= 0 else None
                other = other * size if isinstance(size, int) else None
        if (one is None or one != other) and not _rest(near, far, ends):
            return None
    group = range(j, ends[1])
    real = [k for k in group if far[k] != 1]
    if len(real) > 1 or not len(group):
        return None
    behind = near[track.axis + 1 : ends[0]]
    if not all(isinstance(d, int) for d in behind):
        return None
    inner = track.inner * math.prod(d for d in behind if isinstance(d, int))
    return Track(real[0] if real else group[0], track.count, inner)


def _rest(near: Shape, far: Shape, ends: tuple[int, int]) -> bool:
    """Whether one axis of each is left: a batch of any size."""
    return ends == (1, 1)
