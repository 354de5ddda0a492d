"""Tiles of a grid that share a mesh: one set of drivers programs all of them.

SmartDeal (arXiv 2101.01163) writes many matrices over one small basis. Here U is the same in all
tiles of a row of a grid, or V in all tiles of a column, while each has attenuators of its own:
W_ij = U_i diag(s_ij) V_j. Every tile keeps its own heaters, but those of the same place have the
same phase and hang on one driver, so drivers are what becomes fewer.
"""

from enum import StrEnum

import torch
from torch import Tensor

from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.tiles import TileModel


class Share(StrEnum):
    """Which meshes tiles share."""

    NONE = "none"
    U = "u"
    V = "v"
    BOTH = "both"


def share_meshes(network: PhaseNetwork, share: Share) -> None:
    """From here on tiles of `network` share meshes; those of the first of each group stand.

    Meshes are shared where they are of one shape: an edge tile of another rank is on its own.
    """
    place = torch.arange(len(network.phase))
    for grids in network.layers.values():
        for grid in grids:
            if share in (Share.U, Share.BOTH):
                _join(place, [(_key(t, "u"), [t.theta_u, t.phi_u]) for t in grid.tiles])
            if share in (Share.V, Share.BOTH):
                _join(place, [(_key(t, "v"), [t.theta_v, t.phi_v]) for t in grid.tiles])
    network.tie(place)


def _key(tile: TileModel, block: str) -> tuple[bytes, int, bool]:
    guides = tile.outputs if block == "u" else tile.inputs
    return guides.tobytes(), tile.rank, tile.real


def _join(place: Tensor, meshes: list[tuple[tuple[bytes, int, bool], list[slice]]]) -> None:
    """The places of every mesh become those of the first of the same key."""
    first: dict[tuple[bytes, int, bool], list[slice]] = {}
    for key, parts in meshes:
        for mine, its in zip(parts, first.setdefault(key, parts), strict=True):
            place[mine] = place[its]
