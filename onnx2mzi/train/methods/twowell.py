"""`two-well`: a penalty with two wells, then a cut without retraining.

Hyperspherical networks (arXiv 2212.12651) push some weights to zero and the others away from it,
so that zeroing costs nothing. On phases: lambda sum min-well (phase)^2 for those that will go,
(|phase| - phase_0)^2 for those that will stay, phase_0 the median of the latter; who goes is asked
again every few steps, and lambda rises through the training.

The paper also puts the mean in the place of what is pruned (mean replacement). With `rail` the
wells of those that would go are at plus and minus their layer's mean |phase|, and there they end:
they stay as heaters, on the arm that their sign asks for, and hang on one driver a layer, a rail.
They are put there when it is settled who goes, so that the end of the training settles the rest.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onnx2mzi.train.loop import At, Trainer
from onnx2mzi.train.methods.base import Task, highest, layer_adaptive, magnitude
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.schedules import hold_then_cosine

EVERY = 10
# Weight of the wells at the end, a phase and square rad, as a share of the loss; of the far well.
STRENGTH = 2e-2
FAR = 0.02
# The share of the training up to which it is asked who goes.
ASKED = 0.7


@dataclass
class TwoWell:
    """See the module. With `rail` the heaters that are kept are those with a driver of their
    own."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        network, floors = trainer.network, task.floors(trainer.network)
        network.railed[:] = False
        stays = highest(layer_adaptive(network), keep, network, floors)
        wells = means(network, stays) if task.rail else torch.zeros_like(network.phase.detach())
        memory: dict[str, Any] = {"stays": stays, "wells": wells, "centre": 0.5, "share": 0.0}

        def hook(trainer: Trainer, at: At) -> None:
            memory["share"] = at.share
            if task.rail and at.share >= ASKED:
                put_on_rails(network, memory["stays"])
            elif at.step % EVERY == 0 and at.share < ASKED:
                size = magnitude(network)
                # On rails what differs most from the rest has a driver of its own.
                away = (size - memory["wells"]).abs() if task.rail else layer_adaptive(network)
                memory["stays"] = highest(
                    torch.where(network.alive, away, torch.full_like(size, -1.0)),
                    keep,
                    network,
                    floors,
                )
                memory["centre"] = float(size[memory["stays"] & ~network.fixed].median())
                if task.rail:
                    memory["wells"] = means(network, memory["stays"])

        def penalty(trainer: Trainer, phase: Tensor) -> Tensor:
            weight: float = STRENGTH * min(memory["share"] / ASKED, 1.0) ** 2
            stays = memory["stays"]
            near: Tensor = (phase.abs() - memory["wells"])[~stays & network.alive].square().sum()
            own = stays & ~network.fixed
            far: Tensor = (phase[own].abs() - memory["centre"]).square().sum()
            return weight * (near + FAR * far)

        trainer.fit(
            task.epochs,
            schedule=hold_then_cosine(0.6),
            hook=hook,
            penalty=penalty,
            memory=memory,
            what=f"two-well to {keep}",
        )
        stays = memory["stays"]
        if task.rail:
            put_on_rails(network, stays)
        elif network.phases_active > keep:
            score = layer_adaptive(network) + 2.0 * stays
            trainer.keep(highest(score, keep, network, floors) & network.alive)


def means(network: PhaseNetwork, stays: Tensor) -> Tensor:
    """By phase (P,) the mean |phase| of those of its layer that are there and not in `stays`."""
    size = magnitude(network)
    found = torch.zeros_like(size)
    for spot in network.spots.values():
        those = (network.alive & ~network.fixed & ~stays)[spot]
        found[spot] = size[spot][those].mean() if those.any() else 0.0
    return found


@torch.no_grad()
def put_on_rails(network: PhaseNetwork, stays: Tensor) -> None:
    """Heaters that are not in `stays` (P,) to plus or minus their layer's mean."""
    railed = network.alive & ~network.fixed & ~stays
    size = means(network, stays)
    phase = torch.remainder(network.phase + torch.pi, 2 * torch.pi) - torch.pi
    network.phase[railed] = torch.where(phase < 0, -size, size)[railed]
    network.railed.copy_(railed)
