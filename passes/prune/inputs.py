"""Which inputs of a layer can go dark: backward elimination with compensation."""

import numpy as np
import numpy.typing as npt

from onnx2mzi.passes.prune.moments import dagger
from onnx2mzi.physics.arrays import Matrix, Real


def elimination(
    w: Matrix, c: Matrix, *, chunk: float = 1 / 64
) -> tuple[npt.NDArray[np.intp], Real]:
    """Order in which the inputs of w (m, n) are given up, and the squared error after each.

    Optimal brain surgeon on whole columns (Hassibi and Stork 1993; Frantar and Alistarh,
    arXiv 2208.11580): the input p with the least |w_p|^2 / [C^-1]_pp goes, the others take
    over what they can predict of it. `chunk` of the inputs that are left go at a time.
    Returns (order (n,), error (n,)); error[k] is tr(dW C dW^H) with order[: k + 1] gone.
    """
    n = len(c)
    inverse = np.linalg.inv(c)
    w = w.copy()
    alive = np.arange(n)
    order = np.empty(n, np.intp)
    error = np.empty(n)
    done, spent = 0, 0.0
    while len(alive):
        score = (np.abs(w) ** 2).sum(0) / np.diag(inverse).real
        count = min(len(alive), max(1, int(len(alive) * chunk)))
        gone = np.argsort(score, kind="stable")[:count]
        left = np.ones(len(alive), bool)
        left[gone] = False
        block = inverse[np.ix_(gone, gone)]
        solved = np.linalg.solve(block, inverse[gone])
        dw = w[:, gone]
        exact = float(np.einsum("ij,ji->", dw, np.linalg.solve(block, dagger(dw))).real)
        # Within a chunk the error is shared out by the single scores.
        share = np.cumsum(score[gone])
        share = share / share[-1] if share[-1] > 0 else np.linspace(1 / count, 1.0, count)
        order[done : done + count] = alive[gone]
        error[done : done + count] = spent + exact * share
        spent += exact
        done += count
        w = (w - dw @ solved)[:, left]
        inverse = (inverse - inverse[:, gone] @ solved)[np.ix_(left, left)]
        alive = alive[left]
    return order, error
