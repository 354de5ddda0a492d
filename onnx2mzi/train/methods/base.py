"""What a method is, and what all of them share: scores, masks, floors."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Protocol

import torch
from torch import Tensor

from onnx2mzi.train.loop import Trainer
from onnx2mzi.train.methods import TABLE
from onnx2mzi.train.network import PhaseNetwork


@dataclass(frozen=True, slots=True)
class Task:
    """What a method is given.

    `epochs` of training for every level that it is asked for, the share of each layer's phases
    that stays whatever happens (`floor`), the L1 norm a step and unit of rate;
    `levels`, how many phases heaters may share; `rail`, whether what would go stays on one driver
    a layer instead; `readers`, by layer the layer whose input j is
    exactly its output j.
    """

    epochs: float = 10.0
    floor: float = 0.002
    l1: float = 0.05
    levels: int = 16
    rail: bool = False
    readers: Mapping[str, str] = field(default_factory=dict)

    def floors(self, network: PhaseNetwork) -> dict[str, int]:
        """Fewest heaters of every layer."""
        return {
            name: min(
                spot.stop - spot.start, max(1, math.ceil(self.floor * (spot.stop - spot.start)))
            )
            for name, spot in network.spots.items()
        }


class Method(Protocol):
    """A way to fewer heaters. One instance serves one network; `shrink` may be called again with
    fewer heaters, and goes on from what it left."""

    def shrink(self, trainer: Trainer, task: Task, keep: int) -> None:
        """Prune to at most `keep` heaters, and train."""


def method(name: str) -> Method:
    """The method of this name."""
    module, _, attribute = TABLE[name].partition(":")
    made: Method = getattr(import_module(module), attribute)()
    return made


def magnitude(network: PhaseNetwork) -> Tensor:
    """|phase| of heaters that are there, taken the short way round; 0 of others. (P,)"""
    phase = network.phase.detach()
    size = torch.remainder(phase + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
    return torch.where(network.alive, size, torch.zeros_like(size))


def layer_adaptive(network: PhaseNetwork) -> Tensor:
    """Magnitudes that may be compared between layers, in [0, 1]; 0 of heaters that are gone. (P,)

    A phase's square as a share of the squares of its layer that are not smaller: what its removal
    costs of what is left there. Compared as they are, the phases of small layers, as the last
    often is, all go first (LAMP: Lee et al., arXiv 2010.07611, eq. 4).
    """
    square = magnitude(network).double() ** 2
    share = torch.zeros_like(square)
    for spot in network.spots.values():
        order = torch.argsort(square[spot], descending=True)
        ranked = square[spot][order]
        left = torch.cumsum(ranked, 0).clamp_min(torch.finfo(torch.float64).tiny)
        share[spot.start + order] = ranked / left
    return share.to(network.phase.dtype)


def highest(score: Tensor, keep: int, network: PhaseNetwork, floors: dict[str, int]) -> Tensor:
    """The mask (P,) of the `keep` highest scores, each layer with no fewer than its floor, and of
    what is there without a heater.

    Scores below 0 never stay.
    """
    passive = network.fixed & network.alive
    score = torch.where(passive, -1.0, score.detach())
    for name, spot in network.spots.items():
        part = score[spot]
        best = torch.topk(part, min(floors[name], len(part))).indices
        part[best] = torch.where(part[best] >= 0, torch.inf, part[best])
    score[passive] = torch.inf
    most = max(keep, sum(floors.values())) + int(passive.sum())
    count = min(most, int((score >= 0).sum()))
    mask = torch.zeros(len(score), dtype=torch.bool)
    mask[torch.topk(score, count).indices] = True
    return mask


def by_layer(score: Tensor, keep: int, network: PhaseNetwork, floors: dict[str, int]) -> Tensor:
    """The mask of the highest scores of each layer by itself: the same share of the heaters of
    each stays, `keep` in all, and what is there without a heater."""
    heaters = network.alive & ~network.fixed
    mask = network.alive & network.fixed
    there = {name: int(heaters[spot].sum()) for name, spot in network.spots.items()}
    for name, count in shared_out(there, keep, floors).items():
        spot = network.spots[name]
        part = torch.where(heaters[spot], score[spot], torch.full_like(score[spot], -1.0))
        mask[spot.start + torch.topk(part, count).indices] = True
    return mask


def shared_out(there: dict[str, int], keep: int, floors: dict[str, int]) -> dict[str, int]:
    """How many stay of those `there` in each layer: the same share of all, rounded, none below its
    floor, and no more than `keep` in all where floors allow that."""
    share = keep / max(sum(there.values()), 1)
    least = {name: min(floors[name], size) for name, size in there.items()}
    found = {name: max(round(share * size), least[name]) for name, size in there.items()}
    while sum(found.values()) > keep:
        above = [name for name in found if found[name] > least[name]]
        if not above:
            break
        # A lower share would round this layer down first.
        found[max(above, key=lambda name: (found[name] - 0.5) / there[name])] -= 1
    return found


def levels(now: int, keep: int, share: float) -> Iterator[int]:
    """Numbers of heaters on the way from `now` down to `keep`, each at least `share` of the one
    before, in equal ratios; nothing if `keep` is not below `now`."""
    if keep >= now:
        return
    rounds = max(math.ceil(math.log(keep / now) / math.log(share) - 1e-9), 1)
    for k in range(1, rounds + 1):
        yield round(now * (keep / now) ** (k / rounds))


def norm_moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> float:
    """|dW| / |W| over all layers."""
    moved = sum(float((after[name] - w).abs().square().sum()) for name, w in before.items())
    whole = sum(float(w.abs().square().sum()) for w in before.values())
    return math.sqrt(moved / max(whole, 1e-300))
