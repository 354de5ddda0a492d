"""How near a classifier is to changing its answers."""

from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.passes.prune.moments import plain
from onnx2mzi.physics.arrays import Real

# Errors made larger and smaller than they are: answers then change in proportion, and counting
# all of them is steadier than counting the few that change at 1.
AMPLIFIED = (0.5, 1.0, 1.5, 2.0)
# Answers near to a change count, others hardly.
SHARPNESS = 4


def changed(scores: Real, other: Real) -> float:
    """Share of rows whose largest entry is elsewhere in `other`, both (B, classes)."""
    return float(np.mean(scores.argmax(1) != other.argmax(1)))


def changed_steady(scores: Real, other: Real) -> float:
    """An estimate of `changed` with less noise on few rows.

    Least-squares slope through 0 of the share of answers that the error changes when it is
    scaled by `AMPLIFIED`.
    """
    scale = np.array(AMPLIFIED)
    error = other - scores
    shares = np.array([changed(scores, scores + s * error) for s in AMPLIFIED])
    return float(shares @ scale / (scale @ scale))


def margin_used(scores: Real, other: Real) -> float:
    """Mean over rows of (share of the margin to any other class that the error eats up)^4.

    1 where the answer changes; smooth below, so that a search has something to follow.
    """
    rows = np.arange(len(scores))
    top = scores.argmax(1)
    margin = scores[rows, top][:, None] - scores
    eaten = margin - (other[rows, top][:, None] - other)
    margin[rows, top], eaten[rows, top] = 1.0, 0.0
    share = np.clip(eaten / np.maximum(margin, np.finfo(float).tiny), 0.0, 1.0)
    return float(np.mean(share.max(1) ** SHARPNESS))


def relative(outputs: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    """|other - outputs|_F^2 / |outputs|_F^2."""
    a = plain(outputs)
    norm = float((np.abs(a) ** 2).sum())
    return float((np.abs(other - a) ** 2).sum()) / max(norm, np.finfo(float).tiny)
