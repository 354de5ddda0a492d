"""Which inputs share a tile: those that say much about each other."""

import numpy as np
from scipy.linalg import eigh

from onnx2mzi.passes.prune.moments import Positions
from onnx2mzi.physics.arrays import Matrix


def grouped(moment: Matrix, positions: Positions, ports: int) -> Positions:
    """`positions` in an order in which each run of `ports` holds inputs that vary together.

    Halved again and again along the Fiedler vector of the squared correlations (Shi and Malik
    2000), at multiples of `ports`. Few dimensions describe such a run, so that its tile needs
    few phases; which input is on which guide of the chip is free.
    """
    count = -(-len(positions) // ports)
    if count <= 1:
        return np.sort(positions)
    c = np.abs(moment[np.ix_(positions, positions)])
    scale = np.sqrt(np.diag(c))
    near = (c / np.maximum(np.outer(scale, scale), np.finfo(float).tiny)) ** 2
    np.fill_diagonal(near, 0.0)
    degree = np.sqrt(near.sum(1) + np.finfo(float).eps * len(near))
    laplacian = np.eye(len(near)) - near / np.outer(degree, degree)
    _, vectors = eigh(laplacian, subset_by_index=(1, 1))
    side = vectors[:, 0] / degree
    # The sign of an eigenvector is arbitrary; the first input decides.
    order = positions[np.argsort(side if side[0] <= side[-1] else -side, kind="stable")]
    half = count // 2 * ports
    return np.concatenate(
        [grouped(moment, order[:half], ports), grouped(moment, order[half:], ports)]
    )
