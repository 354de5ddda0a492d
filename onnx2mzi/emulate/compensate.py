"""Drives that undo crosstalk: what the network computes is kept, not every phase.

Phases are psi = K x for drives x >= 0. Where heaters were pruned there are more phases than
heaters, and only what the function feels is worth correcting: with F the Fisher matrix of the
outputs by the phases,

    minimise (K x - psi)^T F (K x - psi) + mu |x - x_0|^2 over x >= 0.

`refined` then repeats this about the phases that were reached.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg as la

from onnx2mzi.physics.arrays import Real

# Block pivoting falls back to single exchanges after this many rounds without progress.
_PATIENCE = 5
_ROUNDS = 400


def nonnegative_least(*, quadratic: Real, linear: Real) -> Real:
    """The x >= 0 that minimises x^T Q x / 2 - b^T x, shape (n,); Q (n, n) positive definite.

    Block principal pivoting: a few Cholesky factors, where active sets need one a variable.
    Kim and Park, SIAM J. Sci. Comput. 33, 3261 (2011), algorithm 2.
    Raises LinAlgError for a Q that is not positive definite.
    """
    q, b = np.asarray(quadratic, float), np.asarray(linear, float)
    n = len(b)
    scale = np.abs(b).max(initial=0.0)
    free = np.ones(n, bool)
    fewest, patience = n + 1, _PATIENCE
    x = np.zeros(n)
    for _ in range(_ROUNDS):
        x = np.zeros(n)
        if free.any():
            x[free] = la.cho_solve(la.cho_factor(q[np.ix_(free, free)]), b[free])
        slope = q @ x - b
        wrong = (free & (x < 0)) | (~free & (slope < -1e-12 * scale))
        count = int(wrong.sum())
        if count == 0:
            return x
        if count < fewest:
            fewest, patience = count, _PATIENCE
        elif patience > 0:
            patience -= 1
        else:
            wrong = np.arange(n) == np.flatnonzero(wrong)[-1]
        free ^= wrong
    return np.maximum(x, 0.0)


def compensated(
    *, response: Real, target_rad: Real, fisher: Real, start_rad: Real, ridge: float = 1e-4
) -> Real:
    """Drives x >= 0, shape (H,), that bring K x closest to the target in the metric F.

    `response` K is (P, H), `target_rad` (P,), `fisher` (P, P); `start_rad` (H,) is where x is
    drawn to where the function does not care, with `ridge` relative to the mean of K^T F K.
    """
    k = np.asarray(response, float)
    weighted = np.asarray(fisher, float) @ k
    q = k.T @ weighted
    mu = ridge * float(np.trace(q)) / max(len(q), 1) + 1e-300
    q = (q + q.T) / 2 + mu * np.eye(len(q))
    return nonnegative_least(quadratic=q, linear=weighted.T @ target_rad + mu * start_rad)


Linearise = Callable[[Real], tuple[Real, Real]]
Loss = Callable[[Real], float]


def refined(
    *,
    drive_rad: Real,
    response: Real,
    linearise: Linearise,
    loss: Loss,
    steps: int = 4,
    ridge: float = 1e-4,
) -> Real:
    """Gauss-Newton on the outputs from `drive_rad`, x >= 0: heat is in the loop.

    `linearise(psi)` gives F (P, P) and the gradient (P,) of the loss by the phases there;
    a step that does not lower `loss(psi)` is shortened, and the search ends when none does.
    """
    x = np.array(drive_rad, float)
    best = loss(response @ x)
    for _ in range(steps):
        fisher, gradient = linearise(response @ x)
        weighted = fisher @ response
        q = response.T @ weighted
        mu = ridge * float(np.trace(q)) / max(len(q), 1) + 1e-300
        q = (q + q.T) / 2 + mu * np.eye(len(q))
        goal = nonnegative_least(quadratic=q, linear=q @ x - response.T @ gradient)
        for share in (1.0, 0.5, 0.25, 0.1):
            trial = x + share * (goal - x)
            value = loss(response @ trial)
            if value < best:
                break
        else:
            return x
        x, best = trial, value
    return x


def softmax_fisher(*, jacobian: Real, probability: Real) -> Real:
    """F = mean over samples of J^T (diag(p) - p p^T) J, shape (P, P).

    `jacobian` (B, C, P) are derivatives of the scores by the phases, `probability` (B, C).
    Amari, Natural gradient works efficiently in learning, Neural Comput. 10, 251 (1998).
    """
    j, p = np.asarray(jacobian, float), np.asarray(probability, float)
    mean = np.einsum("bc,bck->bk", p, j)
    root = np.sqrt(p)[:, :, None] * (j - mean[:, None, :])
    flat = root.reshape(-1, j.shape[-1])
    return np.asarray(flat.T @ flat / len(j))


def residual_bound(*, response: Real, drive_rad: Real, fisher: Real, uncertainty: float) -> float:
    """Expected (psi - psi_0)^T F (psi - psi_0) if entries of K are off by independent errors of
    relative size `uncertainty`: uncertainty^2 sum_ij F_ii K_ij^2 x_j^2."""
    power = np.asarray(response) ** 2 @ np.asarray(drive_rad) ** 2
    return float(uncertainty**2 * np.diag(fisher) @ power)
