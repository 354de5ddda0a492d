"""Batch normalizations that a linear layer before or behind them can take over, exactly.

In inference a BatchNormalization multiplies each channel by a number and adds one. It is folded
where its channels are rows of the matrix before it, or columns of the one behind it, and what
lies between only reshapes (or adds constants) and is used by nothing else.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import NodeProto

from onnx2mzi.frontend.attributes import attribute, integer, real
from onnx2mzi.frontend.channels import Known, Track, through
from onnx2mzi.frontend.names import node_label
from onnx2mzi.frontend.validate import captured
from onnx2mzi.physics.arrays import Real

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# A reshaping chain longer than this is not followed.
_LONGEST = 32


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """y = scale * x + shift along axis 1, both of shape (C,)."""

    node: NodeProto
    label: str
    scale: Real
    shift: Real


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """A norm and the linear node it is folded into.

    `chain` lies between them, in the order of the light's way. `track` says where the channels
    are in the linear node's output (or its input, if the norm comes first), `tracks` where they
    are in the output of every node of the chain.
    """

    norm: Norm
    track: Track
    chain: tuple[NodeProto, ...] = ()
    tracks: tuple[Track, ...] = ()


@dataclass(slots=True)
class Fold:
    """What is folded into one linear node."""

    before: Link | None = None
    after: Link | None = None

    @property
    def links(self) -> list[Link]:
        return [link for link in (self.before, self.after) if link is not None]


@dataclass(slots=True)
class _Graph:
    """Who makes and who reads the values of one graph."""

    nodes: Sequence[NodeProto]
    outputs: Sequence[str]
    makers: dict[str, NodeProto] = field(default_factory=dict)
    reads: Counter[str] = field(default_factory=Counter)
    readers: dict[str, NodeProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reads.update(self.outputs)
        for node in self.nodes:
            self.makers.update((name, node) for name in node.output if name)
            # What a graph inside reads counts twice: no node may take its reader's place.
            inside = [name for name in captured(node) for _ in range(2)]
            self.reads.update([*node.input, *inside])
            self.readers.update((name, node) for name in node.input)

    def private(self, name: str) -> bool:
        """Whether a value is read once, by a node of this graph."""
        return self.reads[name] == 1 and name not in self.outputs


def has_norms(nodes: Sequence[NodeProto]) -> bool:
    """Whether there is anything to look at."""
    return any(node.op_type == "BatchNormalization" for node in nodes)


def planned(
    nodes: Sequence[NodeProto], outputs: Sequence[str], known: Known, path: str = ""
) -> dict[str, Fold]:
    """What can be folded in a graph, by the first output of the linear node.

    `nodes` stand behind those they read from. A norm between two layers goes into the first.
    """
    graph = _Graph(nodes, outputs)
    found: dict[str, Fold] = {}
    for node in nodes:
        norm = _norm(node, known, path)
        if norm is None:
            continue
        behind = _behind(norm, graph, known)
        if behind and not found.setdefault(behind[0].output[0], Fold()).after:
            found[behind[0].output[0]].after = behind[1]
            continue
        ahead = _ahead(norm, graph, known)
        if ahead and not found.setdefault(ahead[0].output[0], Fold()).before:
            found[ahead[0].output[0]].before = ahead[1]
    return {name: fold for name, fold in found.items() if fold.links}


def _norm(node: NodeProto, known: Known, path: str) -> Norm | None:
    """The node's numbers if it is a norm in inference mode with constant statistics."""
    plain = (
        node.op_type == "BatchNormalization"
        and node.domain in ("", "ai.onnx")
        and len(node.input) == 5
        and len([name for name in node.output if name]) == 1
        and not integer(node, "training_mode", 0)
        # Of opset 7: statistics of every pixel.
        and integer(node, "spatial", 1) == 1
    )
    if not plain or not node.output[0]:
        return None
    values = [known.values.value(name) for name in node.input[1:]]
    arrays: list[Real] = []
    for value in values:
        exact = value is not None and value.dtype.kind == "f" and value.dtype.itemsize >= 4
        if value is None or not exact or value.ndim != 1:
            return None
        arrays.append(value.astype(np.float64))
    if len({array.size for array in arrays}) != 1:
        return None
    scale, bias, mean, variance = arrays
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + real(node, "epsilon", 1e-5))
        shift = bias - mean * factor
    if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
        return None
    return Norm(node, path + node_label(node, 0), factor, shift)


def _behind(norm: Norm, graph: _Graph, known: Known) -> tuple[NodeProto, Link] | None:
    """The linear node whose outputs the norm takes."""
    name = norm.node.input[0]
    track = Track(1, norm.scale.size)
    chain: list[NodeProto] = []
    tracks: list[Track] = []
    for _ in range(_LONGEST):
        node = graph.makers.get(name)
        if node is None or not graph.private(name) or node.output[0] != name or not node.input:
            return None
        if node.op_type in LINEAR and node.domain in ("", "ai.onnx"):
            link = Link(norm, track, tuple(chain[::-1]), tuple(tracks[::-1]))
            return node, link
        chain.append(node)
        tracks.append(track)
        if node.op_type == "Add":
            constant = added(node, known)
            if constant is None or known.rank(node.output[0]) is None:
                return None
            value = known.values.value(node.input[constant])
            rank = known.rank(node.input[1 - constant])
            if value is None or (value.ndim > 1 and (rank is None or value.ndim > rank)):
                return None
            name = node.input[1 - constant]
            continue
        before = through(track, node, known, backwards=True)
        if before is None:
            return None
        track, name = before, node.input[0]
    return None


def added(node: NodeProto, known: Known) -> int | None:
    """Which input of an Add is a constant of floats, if just one is."""
    if len(node.input) != 2:
        return None
    constant = [k for k in range(2) if known.values.static(node.input[k])]
    if len(constant) != 1:
        return None
    value = known.values.value(node.input[constant[0]])
    if value is None or value.dtype.kind != "f" or value.dtype.itemsize < 4:
        return None
    return constant[0]


def _ahead(norm: Norm, graph: _Graph, known: Known) -> tuple[NodeProto, Link] | None:
    """The linear node that takes the norm's outputs."""
    name = norm.node.output[0]
    track = Track(1, norm.scale.size)
    chain: list[NodeProto] = []
    tracks: list[Track] = []
    for _ in range(_LONGEST):
        node = graph.readers.get(name)
        if node is None or not graph.private(name) or not node.output:
            return None
        if node.op_type in LINEAR and node.domain in ("", "ai.onnx"):
            uncut = node.op_type in ("Gemm", "MatMul") or not norm.shift.any() or _unpadded(node)
            fits = uncut and name in node.input[:2]
            return (node, Link(norm, track, tuple(chain), tuple(tracks))) if fits else None
        if node.input[0] != name:
            return None
        after = through(track, node, known, backwards=False)
        if after is None:
            return None
        chain.append(node)
        tracks.append(after)
        track, name = after, node.output[0]
    return None


def _unpadded(node: NodeProto) -> bool:
    """Whether a shift of a Conv's inputs is a shift of all its outputs."""
    if node.op_type != "Conv":
        return False
    pads, word = attribute(node, "pads"), attribute(node, "auto_pad")
    padded = pads is not None and any(pads.ints)
    return not padded and (word is None or word.s in (b"", b"NOTSET", b"VALID"))


def without(fold: Fold, excluded: Mapping[str, bool]) -> Fold:
    """The fold without norms that the user excludes, by their labels."""
    before, after = fold.before, fold.after
    if before and excluded.get(before.norm.label):
        before = None
    if after and excluded.get(after.norm.label):
        after = None
    return Fold(before, after)
