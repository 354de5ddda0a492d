"""`two-well`: a penalty with two wells, then a cut without retraining.

Hyperspherical networks (arXiv 2212.12651) push some weights to zero and the others away from it,
so that zeroing costs nothing. On phases: lambda sum min-well (phase)^2 for those that will go,
(|phase| - phase_0)^2 for those that will stay, phase_0 the median of the latter; who goes is asked
again every few steps, and lambda rises through the training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest, magnitude
from onnx2mzi.train.schedules import hold_then_cosine

EVERY = 10
# Weight of the wells at the end, a phase and square rad, as a share of the loss; of the far well.
STRENGTH = 2e-2
FAR = 0.02


@dataclass
class TwoWell:
    """See the module."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        stays = highest(magnitude(network), keep, network, floors)
        share, centre = 0.0, 0.5

        def hook(trainer: Trainer, at: At) -> None:
            nonlocal stays, share, centre
            share = at.share
            if at.step % EVERY == 0 and at.share < 0.7:
                size = magnitude(network)
                stays = highest(size, keep, network, floors)
                centre = float(size[stays].median())

        def penalty(trainer: Trainer, phase: Tensor) -> Tensor:
            weight = STRENGTH * min(share / 0.7, 1.0) ** 2
            near = phase[~stays].square().sum()
            far = (phase[stays].abs() - centre).square().sum()
            return weight * (near + FAR * far)

        trainer.fit(
            task.epochs,
            schedule=hold_then_cosine(0.6),
            hook=hook,
            penalty=penalty,
            what=f"two-well to {keep}",
        )
        if network.phases_active > keep:
            score = torch.where(stays, magnitude(network) + 10.0, magnitude(network))
            trainer.keep(highest(score, keep, network, floors) & network.alive)
