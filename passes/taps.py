"""Singular values as powers of two: attenuators become fixed couplers, 2^-k or dark.

As SmartDeal's coefficients (arXiv 2101.01163): a row of taps that are alike everywhere, without
heaters and codes. The gain is what makes the values nearest to those that were asked for.
"""

from dataclasses import replace

import numpy as np

from onnx2mzi.ir import MeshTile, TileGrid
from onnx2mzi.passes.drawing import DrawingRules, balanced_tile, drawn_tile, trims_of
from onnx2mzi.physics.arrays import Real
from onnx2mzi.physics.mzi import attenuation

# The smallest amplitude is 2^-LAST; half of that and less is dark.
LAST = 6
# Gains that are tried, from half an octave below the largest value to half an octave above.
GAINS = 65
# Thetas that make up for taps may leave this many times the error of taps alone (Frobenius).
AIMED = 3.0


def powers_of_two(values: Real) -> tuple[float, Real]:
    """(gain, amplitudes), shape (r,): gain * amplitudes is near `values` >= 0, and amplitudes
    are 0 or 1, 1/2, ... 2^-LAST. Exact where that can be."""
    best = float(np.max(values, initial=0.0)), np.zeros_like(values)
    least = np.inf
    if best[0] == 0.0:
        return best
    for gain in best[0] * 2.0 ** np.linspace(-0.5, 0.5, GAINS):
        octaves = -np.log2(np.maximum(values / gain, 2.0 ** -(LAST + 2)))
        power = np.clip(np.round(octaves), 0, LAST)
        amplitude = np.where(values > gain * 2.0 ** -(LAST + 1), 2.0**-power, 0.0)
        nearest = float(values @ amplitude / (amplitude @ amplitude))
        error = float(np.linalg.norm(nearest * amplitude - values))
        if error < least:
            best, least = (nearest, amplitude), error
    return best


def tapped_tile(tile: MeshTile, rules: DrawingRules) -> MeshTile:
    """The tile with fixed couplers as attenuators, heaters of the meshes as they were."""
    balanced = balanced_tile(tile)
    gain, amplitude = powers_of_two(balanced.gain * balanced.amplitude)
    if gain == 0.0:
        return tile
    taps = np.ones(len(amplitude), np.uint8)
    bare = replace(balanced, gain=gain, amplitude=amplitude, taps=taps)
    return drawn_tile(bare, rules, trims=trims_of(tile, balanced))


def tap_error(tile: MeshTile) -> float:
    """|dW|_F of one tile by taps alone."""
    values = tile.gain * attenuation(theta_rad=tile.sigma.theta_rad)
    gain, amplitude = powers_of_two(np.abs(values))
    return float(np.linalg.norm(gain * amplitude - np.abs(values)))


def tapped_grid(grid: TileGrid, rules: DrawingRules) -> TileGrid:
    """`tapped_tile` of every tile that is a mesh."""
    return replace(
        grid,
        tiles=tuple(tapped_tile(t, rules) if isinstance(t, MeshTile) else t for t in grid.tiles),
    )
