"""Time and memory of the coupling of many heaters to many pieces of guide."""

import resource
import time

import numpy as np

from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.heat_coupling import coupling_matrix
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.heat_operator import coupling_operator
from onnx2mzi.physics.stack import Die, ThermalStack, Trench, Undercut

ROWS = 64


def chip(segments: int, heaters: int) -> tuple[Bars, Bars, Die]:
    """Rows of touching segments, and a heater on some of them."""
    per_row = segments // ROWS
    x = np.tile(120.0 * np.arange(per_row), ROWS)
    y = np.repeat(50.0 * np.arange(ROWS), per_row)
    chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:heaters])
    die = Die(-500.0, float(x.max()) + 620.0, -500.0, float(y.max()) + 500.0)
    return Bars(x[chosen] + 10, x[chosen] + 110, y[chosen]), Bars(x, x + 120, y), die


def scale() -> None:
    """Build and apply the operator; its error against the exact matrix on some segments."""
    heaters, segments, die = chip(100_032, 4000)
    power = np.random.default_rng(1).uniform(0, 17, len(heaters))
    sample = np.random.default_rng(2).permutation(len(segments))[:200]
    undercut = Undercut(10, 20)
    for name, stack in (
        ("bulk", ThermalStack()),
        ("undercut", ThermalStack(undercut=undercut)),
        ("trench + undercut", ThermalStack(trench=Trench(5, 10, 3), undercut=undercut)),
    ):
        for edges in (None, die):
            start = time.perf_counter()
            model = heat_model(stack=stack)
            operator = coupling_operator(model=model, heaters=heaters, segments=segments, die=edges)
            built = time.perf_counter() - start
            start = time.perf_counter()
            warm = operator.warmth(power)
            applied = time.perf_counter() - start
            start = time.perf_counter()
            operator.adjoint(warm)
            adjoint = time.perf_counter() - start
            exact = (
                coupling_matrix(
                    model=model, heaters=heaters, segments=segments.take(sample), die=edges
                )
                @ power
            )
            error = np.abs(warm[sample] / exact - 1).max()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{name:18s} {'die' if edges else 'free':5s} build {built:5.1f} s, K p "
                f"{applied:5.2f} s, K^T w {adjoint:5.2f} s, error {error:.1e}, peak {peak:.2f} GB"
            )
