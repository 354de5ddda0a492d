"""`fedtiny`: a pool of coarse masks, the best after a calibration, then fine pruning by blocks.

FedTiny (arXiv 2212.01977) without the federation: several masks of the same size are made in
ways that differ in how they share heaters among layers; for each what is electronic (gains,
biases: here in the place of batch statistics) is calibrated on few samples; the one with the
least loss on others goes on; while it trains, one mesh at a time drops its smallest phases and
grows those with the largest gradients.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, by_layer, highest, magnitude

CALIBRATED = 0.3
EVERY = 20
SWAPPED = 0.2
UNTIL = 0.7
ASKED = 2000


@dataclass
class FedTiny:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        self._choose(trainer, task, keep)
        network = trainer.network
        blocks = [s.slice for s in network.segments if s.kind != "sigma" and s.stop > s.start]

        def hook(trainer: Trainer, at: At) -> None:
            if at.step % EVERY or not 0 < at.share < UNTIL or not blocks:
                return
            share = SWAPPED * 0.5 * (1 + math.cos(math.pi * at.share / UNTIL))
            turn = at.step // EVERY
            _swap(trainer, blocks[turn % len(blocks)], share, trainer.some(ASKED, at))

        trainer.fit(task.epochs, hook=hook, what=f"fedtiny to {keep}")

    def _choose(self, trainer: Trainer, task: Task, keep: int) -> None:
        network = trainer.network
        if keep >= network.phases_active:
            return
        count = len(trainer.fit_on)
        order, few = trainer.shuffled(torch.arange(count)), max(count // 5, 1)
        judge, rest = trainer.fit_on.take(order[:few]), order[few:]
        start, before = network.state(), network.alive.clone()
        best: tuple[float, dict[str, Tensor]] | None = None
        # All before the first is tried: they are made of what is alive.
        for mask in list(_pool(trainer, task, keep)):
            network.restore(start)
            trainer.keep(mask & before)
            rows = rest if len(rest) else None
            trainer.fit(CALIBRATED, rows=rows, still=True, what="fedtiny: calibrate")
            loss = trainer.measure(judge).loss
            if best is None or loss < best[0]:
                best = loss, network.state()
        if best is not None:
            network.restore(best[1])


def _pool(trainer: Trainer, task: Task, keep: int) -> Iterator[Tensor]:
    """Coarse masks of at most `keep` heaters."""
    network, floors = trainer.network, task.floors(trainer.network)
    size = magnitude(network)
    slope = trainer.gradient().abs()
    for score in (size, size * slope, size.sqrt() * slope, slope):
        there = torch.where(network.alive, score, torch.full_like(score, -1.0))
        yield highest(there, keep, network, floors)
    for score in (size, size * slope):
        yield by_layer(score, keep, network, floors)


def _swap(trainer: Trainer, block: slice, share: float, rows: Tensor) -> None:
    """Within one block the smallest phases go and those with the largest gradients come."""
    network = trainer.network
    alive, fixed = network.alive[block], network.fixed[block]
    heaters = alive & ~fixed
    swapped = int(share * int(heaters.sum()))
    if not swapped:
        return
    slope = trainer.gradient(rows).abs()[block]
    size = torch.where(heaters, magnitude(network)[block], torch.full_like(slope, torch.inf))
    goes = torch.topk(size, swapped, largest=False).indices
    slope[alive | fixed] = -1.0
    comes = torch.topk(slope, min(swapped, int((~alive & ~fixed).sum()))).indices
    mask = network.alive.clone()
    part = mask[block]
    part[goes[: len(comes)]] = False
    part[comes] = True
    trainer.keep(mask)
