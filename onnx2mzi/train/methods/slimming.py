"""`slimming`: an L1 norm on singular values, and what dies with the small ones.

Network slimming (Liu et al., arXiv 1708.06519) with a tile's singular values in the place of the
scales of a batch normalisation. A channel that goes takes m + n - 2 r MZIs with it. Thresholds
are global, relative to each tile's largest; meshes are decomposed anew and retrained.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods.base import Task
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.structure import phases_of, rebuilt, tile_matrices

# Weight of the sum of amplitudes (each 0 .. 1), as a share of the loss.
STRENGTH = 3e-4
SPARSE = 0.4
HALVINGS = 40


@dataclass
class Slimming:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        trainer.fit(SPARSE * task.epochs, penalty=_penalty, what=f"slimming: sparse, to {keep}")
        network = trainer.network
        parts = tile_matrices(network)
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            if _phases(network, parts, middle) > keep:
                low = middle
            else:
                high = middle
        cut = {
            name: [[_cut(w, high) for w in grid] for grid in grids] for name, grids in parts.items()
        }
        trainer.network = rebuilt(network, cut)
        trainer.fit((1 - SPARSE) * task.epochs, what=f"slimming: retrain at {keep}")


def _penalty(trainer: Trainer, phase: Tensor) -> Tensor:
    network = trainer.network
    total = phase.new_zeros(())
    for grids in network.layers.values():
        for grid in grids:
            for tile in grid.tiles:
                total = total + torch.cos(phase[tile.sigma] / 2).abs().sum()
    return STRENGTH * total


def _spectrum(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.svd(matrix, compute_uv=False))


def _kept(s: np.ndarray, threshold: float) -> int:
    return max(int(np.count_nonzero(s > threshold * s[0])), 1)


def _phases(
    network: PhaseNetwork, parts: dict[str, list[list[np.ndarray]]], threshold: float
) -> int:
    """Heaters that are left if singular values up to `threshold` of the largest go."""
    return sum(
        phases_of(w.shape[0], w.shape[1], _kept(_spectrum(w), threshold), real=network.real[name])
        for name, grids in parts.items()
        for grid in grids
        for w in grid
    )


def _cut(matrix: np.ndarray, threshold: float) -> np.ndarray:
    u, s, vh = np.linalg.svd(matrix, full_matrices=False)
    r = _kept(s, threshold)
    return np.asarray((u[:, :r] * s[:r]) @ vh[:r])
