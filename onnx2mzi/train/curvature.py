"""The Gauss-Newton matrix of the loss over single phases: exact slopes, sample by sample.

A phase acts on its layer's matrix through one MZI: dW = left^T right with two rows each, from the
fields next to that MZI. The network's outputs act on a matrix through the electronics, whose slopes
torch gives for every sample.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from onnx2mzi.kernels import BalancedMesh, backward_taps, build, forward_taps
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.samples import Aim, Samples
from onnx2mzi.train.tiles import TileModel, TileStart

Fields = npt.NDArray[np.complex128]
# Numbers of slopes of the outputs that are held at a time.
HELD = 4_000_000


def matrix_slopes(network: PhaseNetwork) -> dict[str, tuple[Tensor, Tensor]]:
    """By layer (left (P', 2, m), right (P', 2, n)): dW/dphase = left[p].T @ right[p], for all
    phases of the layer in the order of `network.phase`."""
    found = {}
    phase = network.phase.detach().numpy()
    for start in network.starts():
        spot = network.spots[start.name]
        with torch.no_grad():
            whole = [
                network._grid(grid, network.effective(), start.name).numpy()
                for grid in network.layers[start.name]
            ]
        m, n = whole[-1].shape[0], whole[0].shape[1]
        left = np.zeros((spot.stop - spot.start, 2, m), complex)
        right = np.zeros((spot.stop - spot.start, 2, n), complex)
        for g, (model, grid) in enumerate(
            zip(network.layers[start.name], start.grids, strict=True)
        ):
            before, behind = np.eye(n), np.eye(m)
            for other in whole[:g]:
                before = other @ before
            for other in reversed(whole[g + 1 :]):
                behind = behind @ other
            for places, tile in zip(model.tiles, grid.tiles, strict=True):
                for at, a, b in _tile_slopes(places, tile, phase):
                    here = slice(at.start - spot.start, at.stop - spot.start)
                    left[here] = a @ behind[:, tile.outputs].T
                    right[here] = b @ before[tile.inputs]
        found[start.name] = torch.from_numpy(left), torch.from_numpy(right)
    return found


def _tile_slopes(
    places: TileModel, tile: TileStart, phase: npt.NDArray[np.float64]
) -> list[tuple[slice, Fields, Fields]]:
    """Left and right of the phases of a tile, on its own guides."""
    r = len(tile.amplitude)
    u, v = build(tile.u)[:, :r].astype(complex), build(tile.v)[:r].astype(complex)
    scale = tile.gain * tile.amplitude
    behind_v = np.zeros((tile.v.ports, len(u)), complex)
    behind_v[:r] = (u * scale).T
    before_u = np.zeros((tile.u.ports, v.shape[1]), complex)
    before_u[:r] = scale[:, None] * v
    left_v = backward_taps(tile.v, behind_v)
    left_u = backward_taps(tile.u, np.eye(tile.u.ports))
    right_v = forward_taps(tile.v, np.eye(tile.v.ports))
    right_u = forward_taps(tile.u, before_u)
    # cos(sigma / 2) < 0 went into the phases behind V.
    sigma = phase[places.sigma]
    slope = -0.5 * tile.gain * np.sin(sigma / 2) * np.where(np.cos(sigma / 2) < 0, -1.0, 1.0)
    left_s, right_s = np.zeros((r, 2, len(u)), complex), np.zeros((r, 2, v.shape[1]), complex)
    left_s[:, 0], right_s[:, 0] = (u * slope).T, v
    found = [(places.sigma, left_s, right_s)]
    for mesh, theta, phi, a, b in (
        (tile.v, places.theta_v, places.phi_v, left_v, right_v),
        (tile.u, places.theta_u, places.phi_u, left_u, right_u),
    ):
        by_theta, by_phi = _turns(mesh)
        found.append((theta, a, by_theta @ b))
        if phi.stop > phi.start:
            found.append((phi, a, by_phi @ b))
    return found


def _turns(mesh: BalancedMesh) -> tuple[Fields, Fields]:
    """dM/dtheta and dM/dphi of every MZI, (K, 2, 2)."""
    e: Fields = np.exp(1j * mesh.phi)
    s, c = np.sin(mesh.theta / 2) + 0 * e, np.cos(mesh.theta / 2) + 0 * e
    nothing = np.zeros_like(e)
    by_theta: Fields = 0.5 * _cells(e * c, -s, -e * s, -c)
    by_phi: Fields = _cells(1j * e * s, nothing, 1j * e * c, nothing)
    return by_theta, by_phi


def _cells(a: Fields, b: Fields, c: Fields, d: Fields) -> Fields:
    """[[a, b], [c, d]] of every MZI, (K, 2, 2)."""
    return np.stack([np.stack([a, b], -1), np.stack([c, d], -1)], -2).astype(np.complex128)


def output_slopes(
    network: PhaseNetwork, aim: Aim, on: Samples
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """By layer (B, C, m, n): slopes of C numbers of every sample, whose squares' sum is how much
    the loss bends, by the layer's matrix W: d = Re(conj(slope) dW); and by the name of what else
    is trained (B, C, ...) slopes by that.

    With class scores the C numbers are (diag(q) - q p^T) s of the scores s, with probabilities p
    and q = sqrt(p), else the outputs themselves.
    """
    matrices = {name: w.detach() for name, w in network.matrices().items()}
    constants = {name: x.detach() for name, x in network.constants().items()}

    def outputs(
        by_layer: dict[str, Tensor], constants: dict[str, Tensor], inputs: dict[str, Tensor]
    ) -> Tensor:
        one = {name: x[None] for name, x in inputs.items()}
        made = {
            name: torch.view_as_complex(w) if matrices[name].is_complex() else w
            for name, w in by_layer.items()
        }
        found = network.electronics(made, one, constants)[aim.output]
        if not aim.classes:
            return found.reshape(-1)
        scores = aim.logits(found)[0]
        p = torch.softmax(scores.detach(), 0)
        root: Tensor = p.sqrt()
        bent: Tensor = root * (scores - (p * scores).sum())
        return bent

    slopes = torch.func.vmap(torch.func.jacrev(outputs, (0, 1)), in_dims=(None, None, 0))
    # Slopes by complex numbers are not for torch.func: (re, im) pairs are.
    pairs = {n: torch.view_as_real(w) if w.is_complex() else w for n, w in matrices.items()}
    found, others = slopes(pairs, constants, dict(on.inputs))
    by_matrix = {
        name: torch.view_as_complex(x.contiguous()) if matrices[name].is_complex() else x
        for name, x in found.items()
    }
    return by_matrix, others


def jacobian(network: PhaseNetwork, aim: Aim, on: Samples) -> Tensor:
    """(B C, A + T + N): slopes of the numbers of `output_slopes` by the A heaters that are there,
    in their order, by the T gains and the N numbers of `constants`. Their products' sum over rows
    is the Gauss-Newton matrix."""
    taps = matrix_slopes(network)
    alive = network.alive & ~network.fixed
    size = sum(w.numel() for w in network.matrices().values())
    step = max(HELD // (10 * size), 1)
    blocks = []
    with torch.no_grad():
        matrices = network.matrices()
    for begin in range(0, len(on), step):
        by_matrix, others = output_slopes(network, aim, on.take(slice(begin, begin + step)))
        parts, gains = [], []
        for name, spot in network.spots.items():
            slope = by_matrix[name].flatten(0, 1).conj()
            chosen = alive[spot]
            # Single precision: it only steers.
            kind = torch.complex64 if slope.is_complex() else torch.float32
            left, right = ((x if kind.is_complex else x.real)[chosen].to(kind) for x in taps[name])
            count = int(chosen.sum())
            seen = slope.to(kind) @ right.reshape(2 * count, right.shape[-1]).T
            both = (seen * left.reshape(2 * count, left.shape[-1]).T).sum(1)
            parts.append(both.reshape(len(both), count, 2).sum(2).real)
            tiles = sum(len(grid.tiles) for grid in network.layers[name])
            # A layer's gains go together.
            by_gain = (slope.to(kind) * matrices[name].to(kind)).sum((1, 2)).real
            gains.append(by_gain[:, None].expand(-1, tiles) / tiles)
        rest = [others[name].flatten(0, 1).flatten(1) for name in network.constants()]
        blocks.append(torch.cat([*parts, *gains, *rest], 1).double())
    return torch.cat(blocks)
