"""Without data: the cheapest matrix within a relative Frobenius error."""

import numpy as np

from onnx2mzi.passes.prune.cost import cuts, direct_phases, split_pays, split_phases
from onnx2mzi.passes.prune.lowrank import factors
from onnx2mzi.physics.arrays import Matrix


def nearest(w: Matrix, *, limit: float, ports: int) -> tuple[Matrix, int]:
    """A matrix w' with |w' - w|_F <= limit |w|_F that costs few phases, and its rank.

    The cheaper of low rank for the whole matrix, if two grids can profit from it, and low
    ranks tile by tile.
    """
    allowed = (limit * float(np.linalg.norm(w))) ** 2
    tiled, phases = truncated_tiles(w, allowed=allowed, ports=ports)
    left = np.cumsum(np.linalg.svd(w, compute_uv=False)[::-1] ** 2)[::-1]
    rank = max(int(np.count_nonzero(left > allowed)), 1)
    m, n = w.shape
    if split_pays(m, n, rank, ports) and split_phases(m, n, rank, ports) < phases:
        a, b = factors(w, np.eye(n), rank)
        return a @ b, rank
    return tiled, min(m, n)


def truncated_tiles(w: Matrix, *, allowed: float, ports: int) -> tuple[Matrix, int]:
    """w with the smallest singular values of its tiles gone, and its phases.

    Their squares add up to at most `allowed`; those that save most phases for their square
    go first, from a tile always its smallest.
    """
    pieces = [(top, left) for top in cuts(w.shape[0], ports) for left in cuts(w.shape[1], ports)]
    parts = [np.linalg.svd(w[piece], full_matrices=False) for piece in pieces]
    ranks = [len(s) for _, s, _ in parts]
    while True:
        offers = [
            (float(s[r - 1]) ** 2 / (len(u) + vh.shape[1] - 2 * r + 1), i)
            for i, ((u, s, vh), r) in enumerate(zip(parts, ranks, strict=True))
            if r and float(s[r - 1]) ** 2 <= allowed
        ]
        if not offers:
            break
        i = min(offers)[1]
        ranks[i] -= 1
        allowed -= float(parts[i][1][ranks[i]]) ** 2
    out, phases = np.zeros_like(w), 0
    for piece, (u, s, vh), r in zip(pieces, parts, ranks, strict=True):
        out[piece] = (u[:, :r] * s[:r]) @ vh[:r]
        phases += direct_phases(len(u), vh.shape[1], r, ports)
    return out, phases
