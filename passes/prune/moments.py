"""Second moments of what reaches a layer: the metric in which its errors are measured."""

from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Matrix, Real

# What stands for inputs that the data does not show: a share of the mean power on every input,
# and of every input's own power (as if it varied by itself that much). Chosen on MNIST with
# inputs that were neither fitted nor tested on; errors change little by factors of three.
RIDGE = 1e-2
OWN = 3e-2

# More input vectors than this do not make moments better, only slower.
MOST_VECTORS = 20_000

Positions = npt.NDArray[np.intp]


def plain(values: npt.ArrayLike) -> Matrix:
    """A float64 or complex128 array of its own."""
    dtype: type = np.complex128 if np.iscomplexobj(values) else np.float64
    return np.array(values, dtype)


def dagger(a: npt.NDArray[Any]) -> Matrix:
    """Conjugate transpose."""
    turned: Matrix = a.conj().T
    return turned


def moment(x: Matrix, *, ridge: float = RIDGE, own: float = OWN) -> Matrix:
    """C = X X^H / B + ridge * mean(diag) * 1 + own * diag, for input vectors x (n, B).

    |dW X|_F^2 / B = tr(dW C dW^H) but for the last two terms. Not centred: a pass cannot
    change the biases of the host graph.
    """
    x = x[:, :: -(-x.shape[1] // MOST_VECTORS)]
    x = plain(x)
    c = x @ dagger(x) / x.shape[1]
    power = np.diag(c).real
    scale = float(power.mean())
    return np.asarray(c + np.diag(own * power + (ridge * scale if scale > 0 else 1.0)))


def energy(w: Matrix, c: Matrix) -> Real:
    """Rows' share of tr(w c w^H): mean square of every output of w, shape (m,)."""
    return np.asarray(((w @ c) * w.conj()).real.sum(1))


def restricted(w: Matrix, c: Matrix, keep: Positions) -> Matrix:
    """The best stand-in for w (m, n) in metric c that sees only the inputs `keep` (n',).

    Least tr(dW C dW^H) over matrices (m, n'): w C[:, keep] C[keep, keep]^-1.
    """
    return dagger(np.linalg.solve(c[np.ix_(keep, keep)], dagger(w @ c[:, keep])))
