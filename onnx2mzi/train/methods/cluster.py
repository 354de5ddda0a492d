"""`cluster`: heaters that share a driver.

Phases are put into groups of one size each by k-means on the circle, sign apart (the better arm
carries it), as weights are in the equaliser of arXiv 2109.07204; heaters of a group are one
network of the same driver, so a layer needs as many drivers as it has groups. The groups' sizes
are then trained, each with the sum of its heaters' gradients.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, magnitude
from onnx2mzi.train.methods.soft import SoftL1
from onnx2mzi.train.network import PhaseNetwork

PRUNE = 0.6
ROUNDS = 30


def groups(size: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """(centres (k,), group of each (K,)) of sizes (K,), k <= count: Lloyd's rounds from quantiles.

    Sizes are |phase| up to pi, where the circle closes; none is near to both ends.
    """
    count = min(count, len(torch.unique(size)))
    centres = torch.quantile(size, (torch.arange(count, dtype=size.dtype) + 0.5) / count)
    for _ in range(ROUNDS):
        member = (size[:, None] - centres).abs().argmin(1)
        sums = torch.zeros_like(centres).index_add_(0, member, size)
        numbers = torch.zeros_like(centres).index_add_(0, member, torch.ones_like(size))
        centres = torch.where(numbers > 0, sums / numbers.clamp_min(1), centres)
    return centres, (size[:, None] - centres).abs().argmin(1)


@dataclass
class Cluster:
    """See the module. `drivers` is how many the last call left."""

    drivers: int = 0

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        before = replace(task, epochs=PRUNE * task.epochs)
        SoftL1().shrink(trainer, before, keep)
        self.drivers = shared(trainer, task.levels, (1 - PRUNE) * task.epochs)


@torch.no_grad()
def normalise(network: PhaseNetwork) -> None:
    """The largest amplitude of every tile into its gain, as tiles are drawn: otherwise drawing
    takes attenuators out of their groups."""
    grids = (grid for layer in network.layers.values() for grid in layer)
    for tile in (tile for grid in grids for tile in grid.tiles):
        part = tile.sigma
        amplitude = torch.cos(network.effective()[part] / 2).abs()
        largest = float(amplitude.max()) if len(amplitude) else 0.0
        if largest in (0.0, 1.0) or network.fixed[part].any():
            continue
        at = part.start + int(amplitude.argmax())
        phase = 2 * torch.acos((amplitude / largest).clamp(max=1.0))
        network.phase[part] = torch.where(network.phase[part] < 0, -phase, phase)
        network.gain[tile.gain] += math.log(largest)
        network.phase[at], network.rest[at], network.alive[at] = 0.0, 0.0, False


def shared(trainer: Trainer, levels: int, epochs: float) -> int:
    """Put the heaters of every layer into at most `levels` groups and train the groups; returns
    how many there are in all layers: drivers."""
    network = trainer.network
    normalise(network)
    size = magnitude(network)
    member = torch.full((len(size),), -1, dtype=torch.int64)
    drivers = 0
    for spot in network.spots.values():
        there = torch.nonzero((network.alive & ~network.fixed)[spot]).flatten() + spot.start
        if not len(there):
            continue
        centres, group = groups(size[there], levels)
        member[there] = group + drivers
        drivers += len(centres)
    tied = member >= 0

    def tie(trainer: Trainer, at: At | None = None) -> None:
        """All heaters of a group to the mean of their sizes: they take one step together. Whole
        turns, which no heater makes, stay."""
        with torch.no_grad():
            turns = 2 * torch.pi * torch.round(network.phase[tied] / (2 * torch.pi))
            phase = network.phase[tied] - turns
            mean = torch.zeros(drivers, dtype=phase.dtype)
            count = torch.zeros(drivers, dtype=phase.dtype)
            mean.index_add_(0, member[tied], phase.abs())
            count.index_add_(0, member[tied], torch.ones_like(phase))
            mean = mean / count.clamp_min(1)
            signs = torch.where(phase < 0, -1.0, 1.0)
            network.phase[tied] = turns + signs * mean[member[tied]]

    tie(trainer)
    trainer.fit(epochs, hook=tie, what=f"{drivers} drivers")
    tie(trainer)
    return drivers
