"""Low rank in the metric of the inputs."""

import numpy as np

from onnx2mzi.passes.prune.moments import dagger
from onnx2mzi.physics.arrays import Matrix, Real


def spectrum(w: Matrix, c: Matrix) -> Real:
    """Squared singular values of w C^(1/2), descending: what each rank adds to the outputs."""
    half = w @ np.linalg.cholesky(c)
    squares = np.linalg.svd(half, compute_uv=False) ** 2
    return np.asarray(squares)


def factors(w: Matrix, c: Matrix, rank: int) -> tuple[Matrix, Matrix]:
    """a (m, rank), orthonormal columns, and b (rank, n), with a b nearest to w in metric c.

    Least tr((w - a b) C (w - a b)^H): a holds the leading left singular vectors of w C^(1/2),
    b = a^H w (Eckart and Young 1936, weighted).
    """
    half = w @ np.linalg.cholesky(c)
    _, vectors = np.linalg.eigh(half @ dagger(half))
    a = vectors[:, ::-1][:, :rank]
    return a, dagger(a) @ w
