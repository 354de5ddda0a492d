"""`brain-surgeon`: the surgeon with the whole Gauss-Newton matrix of what is left.

As `surgeon`, but a few phases at a time go by optimal brain surgeon (Hassibi and Stork 1993): with
H the Gauss-Newton matrix of the loss over all heaters left, the gains and the biases, the phase k
with the least (phase - goal)^2 / [H^-1]_kk goes, the others move by what makes up for it, H^-1 is
brought up to date, and so on. Networks with more than `MOST` phases in all are left to `surgeon`,
and so are those with an operator that cannot run sample by sample.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from onnx2mzi.errors import InputError
from onnx2mzi.train.curvature import jacobian
from onnx2mzi.train.loop import Trainer, single
from onnx2mzi.train.methods.surgeon import Surgeon, goals, remove

# Samples that the matrix is made of, its damping as a share of its mean diagonal, and how far (rad)
# a survivor moves at most.
SAMPLES = 200
DAMPING = 1e-3
FAR = 0.3
MOST = 12_000


@dataclass
class BrainSurgeon(Surgeon):
    """See the module."""

    def cut(self, trainer: Trainer, keep: int, floors: dict[str, int]) -> None:
        if len(trainer.network.phase) > MOST:
            return remove(trainer, keep, floors)
        try:
            operate(trainer, keep, floors)
        except InputError:
            remove(trainer, keep, floors)


def operate(trainer: Trainer, keep: int, floors: dict[str, int]) -> None:
    """All but `keep` heaters go, one after the other; the others and the gains make up for it."""
    network = trainer.network
    there = torch.nonzero(network.alive & ~network.fixed)[:, 0]
    count = len(there)
    rows = trainer.shuffled(torch.arange(len(trainer.fit_on)), count)[:SAMPLES]
    with single(trainer.settings.threads):
        slopes = (
            jacobian(network, trainer.aim, trainer.fit_on.take(rows)).numpy() / len(rows) ** 0.5
        )
    h = slopes.T @ slopes
    scale = float(np.trace(h[:count, :count])) / count + np.finfo(np.float32).tiny
    inverse = np.linalg.inv(h + DAMPING * scale * np.eye(len(h)))
    aims = goals(network)
    way = (network.phase.detach() - aims)[there]
    # A turn more or less is no way at all.
    short = torch.remainder(way + torch.pi, 2 * torch.pi) - torch.pi
    moved, gone = removed(short.numpy(), inverse, count - keep, _spare(trainer, there, floors))
    with torch.no_grad():
        left = there[torch.from_numpy(~gone)]
        network.phase[left] += torch.from_numpy(np.clip(moved[:count][~gone], -FAR, FAR))
        step = torch.from_numpy(np.clip(moved[count:], -FAR, FAR))
        network.gain.add_(step[: len(network.gain)])
        begin = len(network.gain)
        for value in network.biases:
            size = value.numel()
            value.add_(step[begin : begin + size].reshape(value.shape).to(value.dtype))
            begin += size
        network.project()
    alive = network.alive.clone()
    alive[there[torch.from_numpy(gone)]] = False
    network.rest[there[torch.from_numpy(gone)]] = aims[there[torch.from_numpy(gone)]]
    trainer.keep(alive)


def removed(
    way: np.ndarray, inverse: np.ndarray, count: int, groups: list[tuple[np.ndarray, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """(moved, gone): how far parameters move when `count` of the first len(way) go their `way`
    back, always the one that costs least; of each group (places, floor) no fewer stay."""
    inverse, moved = inverse.copy(), np.zeros(len(inverse))
    gone = np.zeros(len(way), bool)
    for _ in range(count):
        now = way + moved[: len(way)]
        score = now**2 / np.maximum(np.diag(inverse)[: len(way)], 1e-300)
        score[gone] = np.inf
        for places, floor in groups:
            if np.count_nonzero(~gone[places]) <= floor:
                score[places] = np.inf
        k = int(np.argmin(score))
        if score[k] == np.inf:
            break
        row = inverse[k] / inverse[k, k]
        moved -= now[k] * row
        inverse -= np.outer(row, inverse[k])
        inverse[k] = inverse[:, k] = 0.0
        gone[k] = True
    return moved, gone


def _spare(trainer: Trainer, there: Tensor, floors: dict[str, int]) -> list[tuple[np.ndarray, int]]:
    spots = trainer.network.spots
    places = there.numpy()
    return [
        (np.flatnonzero((places >= spot.start) & (places < spot.stop)), floors[name])
        for name, spot in spots.items()
    ]
