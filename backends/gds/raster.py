"""A scene as pixels, without KLayout: small enough for a page that shows the whole chip."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.backends.gds.picture import HEAT, Scene, classes
from onnx2mzi.physics.arrays import Real

# Few colours and no mixtures keep the file small: white, the die's edge, and for every kind of
# thing the colour of pixels that it hardly and that it mostly covers.
COLOURS = (
    "#ffffff", "#2c3e50", "#eef3f8", "#d9e6f2", "#f2f2f2", "#dcdcdc", "#f0d4d0", "#d98880",
    "#d5dadd", "#9aa5ab", "#e2d099", "#c9a227", *HEAT,
)  # fmt: skip
_EDGE, _MZI, _CROSSING, _GUIDE, _WIRE, _PAD, _HEAT = 1, 2, 4, 6, 8, 10, 12
# Mostly: from this share of a pixel on; less than the other share is not shown.
MOSTLY, HARDLY = 0.5, 0.2

Indices = npt.NDArray[np.uint8]


def chip_pixels(seen: Scene, most: int) -> Indices:
    """The picture as indices of `COLOURS`, shape (height, width), its longer side `most`."""
    x0, y0, x1, y1 = seen.frame
    scale = most / max(x1 - x0, y1 - y0)
    shape = max(1, round((y1 - y0) * scale)), max(1, round((x1 - x0) * scale))
    corner = np.array([x0, y1])
    picture = np.zeros(shape, np.uint8)
    kind = classes(seen.heat)
    layers = [
        (_MZI, seen.mzis, HARDLY),
        (_CROSSING, seen.crossings, HARDLY),
        (_GUIDE, _lines(seen), 0.0),
        (_WIRE, seen.wires, HARDLY),
        (_PAD, seen.pads, HARDLY),
    ]
    for first, boxes, least in layers:
        share = _covered(boxes, corner, scale, shape)
        picture[share > least] = first
        picture[share >= MOSTLY] = first + 1
    for k in range(len(HEAT)):
        picture[_covered(seen.heaters[kind == k], corner, scale, shape) > HARDLY] = _HEAT + k
    if seen.die is not None:
        a, b, c, d = seen.die
        left, right = (min(round((x - x0) * scale), shape[1] - 1) for x in (a, c))
        top, low = (min(round((y1 - y) * scale), shape[0] - 1) for y in (d, b))
        picture[[top, low], left : right + 1] = _EDGE
        picture[top : low + 1, [left, right]] = _EDGE
    return picture


def _covered(boxes: Real, corner: Real, scale: float, shape: tuple[int, int]) -> Real:
    """The share of every pixel that boxes cover, those that overlap counted twice."""
    height, width = shape
    added = np.zeros((height + 2, width + 2))
    across = [((boxes[:, k] - corner[0]) * scale).clip(0, width) for k in (0, 2)]
    down = [((corner[1] - boxes[:, k]) * scale).clip(0, height) for k in (3, 1)]
    # Sums along both axes of what is added at the corners; a corner within a pixel is shared.
    for y, y_sign in zip(down, (1, -1), strict=True):
        for x, x_sign in zip(across, (1, -1), strict=True):
            row, column = np.floor(y).astype(int), np.floor(x).astype(int)
            for one, of_row in ((0, 1 - (y - row)), (1, y - row)):
                for other, of_column in ((0, 1 - (x - column)), (1, x - column)):
                    weight = y_sign * x_sign * of_row * of_column
                    np.add.at(added, (row + one, column + other), weight)
    share = added.cumsum(0).cumsum(1)[:height, :width]
    return np.asarray(np.where(share > 1e-9, share, 0.0))


def _lines(seen: Scene) -> Real:
    """Guides, and what leads from them to the die's edge, as boxes."""
    found = [seen.guides]
    for line in seen.couplers:
        at = np.linspace(0, len(line) - 1, 16 * len(line))
        x, y = (np.interp(at, np.arange(len(line)), line[:, axis]) for axis in (0, 1))
        ends = np.stack([x[:-1], y[:-1], x[1:], y[1:]], 1)
        low, high = np.minimum(ends[:, :2], ends[:, 2:]), np.maximum(ends[:, :2], ends[:, 2:])
        found.append(np.concatenate([low - 0.25, high + 0.25], 1))
    return np.concatenate(found)
