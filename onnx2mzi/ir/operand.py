"""How a layer meets the host graph: which vectors it takes, and where its matrix is fed."""

from dataclasses import dataclass, field

WHOLE = (0, 1)
STACKED, INTERLEAVED = "stacked", "interleaved"


@dataclass(frozen=True, slots=True)
class Window:
    """A window that slides over the last len(kernel) axes of a tensor, as in a convolution.

    `pads` are zeros before every axis, then behind every axis; with `same` "upper" or "lower"
    they follow from the tensor's shape instead, so that an axis of length d gives
    ceil(d / stride) positions and an odd zero lies behind ("upper") or before.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    same: str = ""


@dataclass(frozen=True, slots=True)
class View:
    """Which vectors of a host tensor a layer takes, beyond those along one axis.

    A vector lies along the operand's `axis` and `more_axes`, the last fastest; with a `window`
    every entry of the axis is followed by the window's own, row by row. `part` (k, count) takes
    the k-th of `count` equal runs of `axis`. `at` holds (axis, index): entries elsewhere are not
    the layer's; an axis of length 1, or one that the tensor does not have, serves every index.
    """

    more_axes: tuple[int, ...] = ()
    at: tuple[tuple[int, int], ...] = ()
    part: tuple[int, int] = WHOLE
    window: Window | None = None


@dataclass(frozen=True, slots=True)
class Operand:
    """How the layer meets the host graph.

    Host tensor `source` holds the layer's input vectors along `axis` (-1: rows of x @ W.T,
    -2: columns of W @ x), or as `view` says; "" if no host output shows them. The realised
    matrix is fed to host input `binding`, transposed if `transposed`, and cast to `dtype` (a
    numpy name).

    `slot` (k, count): the host input takes the matrices of `count` layers, alike in shape, one
    below the other; this one is the k-th.

    `parts` says how the host has complex vectors: "stacked", all real parts and then all
    imaginary ones, or "interleaved", in turns. The matrix it is fed is twice as large then (see
    `emulate.parts`). "" is a real layer.

    `turn` (k, count): of `count` equal chips that take the vectors in turns this is the k-th: it
    takes vectors k, k + count, ... All have the same slot.
    """

    source: str
    axis: int
    binding: str
    transposed: bool
    dtype: str
    slot: tuple[int, int] = WHOLE
    view: View = field(default_factory=View)
    parts: str = ""
    turn: tuple[int, int] = WHOLE
