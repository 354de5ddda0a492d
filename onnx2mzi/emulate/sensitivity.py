"""How much each device matters: the expected error of a layer's output, to first order.

Behind MZI k, light is a forward field f (2,) of an input vector and a backward row b (2,) from
its outputs to an output of the layer. An error e of a kind whose cell derivative is D changes
that output by e b^T D f; its square, summed over outputs and averaged over inputs, is what is
given here. Only 2 x 2 moments of f and b are needed, so this costs two passes of light for all
devices together.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from onnx2mzi.emulate.imperfect import ImperfectProgram, LayerDevices, TileDevices
from onnx2mzi.emulate.imperfect_devices import MeshDevices
from onnx2mzi.emulate.transfer import attenuator_transfer, grid_matrix
from onnx2mzi.kernels import BalancedMesh, backward_taps, build, forward_taps
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_cell import mzi_derivatives


@dataclass(frozen=True, slots=True, eq=False)
class BlockSensitivity:
    """Squared relative error of the layer's output per squared error of a device, (K,) each:
    per rad^2 of a heater's phase (0 without one) and of the two couplers' angles, per dB^2 of
    loss. `out`, shape (ports,), is that of heaters behind the mesh; attenuators have none.
    `static` is per rad^2 of a phase between the two inputs, whether a heater is there or not."""

    layer: str
    tile: str
    block: str
    column: np.ndarray
    port: np.ndarray
    theta_rad: Real
    theta: Real
    phi: Real
    first: Real
    second: Real
    loss: Real
    out: Real
    static: Real

    def expected(self, sizes: Imperfections) -> Real:
        """Expected squared relative error of the layer's output by each MZI, (K,): random phase
        errors, local split errors and the spread of loss."""
        split = sizes.split_rad**2 * (self.first + self.second)
        heaters = sizes.phase_rad**2 * (self.theta + self.phi)
        return np.asarray(split + heaters + sizes.loss_sigma_db**2 * self.loss)


def sensitivities(
    chip: ImperfectProgram, layer_inputs: dict[str, Matrix]
) -> list[BlockSensitivity]:
    """All blocks of all mesh tiles. `layer_inputs` are every layer's input vectors (n, B)."""
    found = []
    for item in chip.layers:
        if item.grids:
            found += _layer(item, _compressed(layer_inputs[item.layer.name]))
    return found


def _compressed(x: Matrix) -> Matrix:
    """At most n columns with the same moments x x^H / B and, if x is real, x x^T / B."""
    n, count = x.shape
    scaled = x / np.sqrt(max(count, 1))
    if count <= n:
        return np.asarray(scaled)
    factor = np.asarray(np.linalg.qr(scaled.T, mode="r"), x.dtype)
    return cast(Matrix, np.ascontiguousarray(factor.T))


def _layer(item: LayerDevices, x: Matrix) -> list[BlockSensitivity]:
    real = not np.iscomplexobj(item.layer.weight)
    power = float(np.linalg.norm(item.ideal @ x) ** 2)
    matrices = [grid_matrix(grid, real=real) for grid in item.layer.grids]
    found = []
    for g, tiles in enumerate(item.grids):
        into: Matrix = x
        for matrix in matrices[:g]:
            into = matrix @ into
        onward: Matrix = np.eye(item.layer.grids[g].rows)
        for matrix in matrices[g + 1 :]:
            onward = matrix @ onward
        for tile in tiles:
            if isinstance(tile, TileDevices):
                found += _tile(item.layer.name, tile, into, onward, real, power)
    return found


def _tile(
    layer: str, tile: TileDevices, x: Matrix, onward: Matrix, real: bool, power: float
) -> list[BlockSensitivity]:
    channels = len(tile.sigma.gone)
    factor = tile.tile.gain * np.exp(1j * (tile.tile.readout_rad + tile.u.after_rad))
    w = onward[:, tile.tile.outputs].T * factor[:, None]
    into = np.asarray(x[tile.tile.inputs], np.complex128)
    behind_v = np.exp(1j * tile.v.after_rad)[:, None] * (build(tile.v.core) @ into)
    amplitude = attenuator_transfer(tile.tile.sigma)
    at_u = np.zeros((tile.u.ports, into.shape[1]), np.complex128)
    at_u[:channels] = amplitude[:, None] * behind_v[:channels]
    rows = build(tile.u.core).T @ w
    back_v = np.zeros((tile.v.ports, w.shape[1]), np.complex128)
    back_v[:channels] = amplitude[:, None] * rows[:channels]
    back_v *= np.exp(1j * tile.v.after_rad)[:, None]
    scale = 1 / power if power > 0 else 0.0
    return [
        _mesh((layer, tile.name, "v"), tile.v, into, back_v, real, scale),
        _attenuators(layer, tile, behind_v[:channels], rows[:channels], real, scale),
        _mesh((layer, tile.name, "u"), tile.u, at_u, w, real, scale),
    ]


def _mesh(
    names: tuple[str, str, str],
    devices: MeshDevices,
    x: Complex,
    w: Complex,
    real: bool,
    scale: float,
) -> BlockSensitivity:
    core: BalancedMesh = devices.core
    f, b = forward_taps(core, x), backward_taps(core, w)
    parts = dict(mzi_derivatives(theta_rad=core.theta, phi_rad=core.phi))
    ways: dict[str, Complex] = {}
    for name, heaters, place in (("theta", devices.theta, "arm"), ("phi", devices.phi, "in")):
        upper, lower = heaters.on_arms((heaters.active > 0).astype(np.float64))
        derivative = upper[:, None, None] * parts[f"{place}_upper"]
        ways[name] = derivative + lower[:, None, None] * parts[f"{place}_lower"]
    # A crossing has no couplers, but it has a loss.
    split = (devices.crossing == 0)[:, None, None]
    ways |= {"first": split * parts["first"], "second": split * parts["second"]}
    ways["loss"] = parts["loss_db"]
    found: dict[str, Real] = {name: scale * _squares(b, way, f, real) for name, way in ways.items()}
    # Of a real mesh this turns all light out of phase, which only the next such phase brings back.
    between = (parts["in_upper"] - parts["in_lower"]) / 2
    found["static"] = scale * _squares(b, between, f, False)
    heated = np.where(devices.out.active > 0, 1j, 0.0)
    found["out"] = scale * _paths(heated, build(core) @ x, w, real)
    layer, tile, block = names
    return BlockSensitivity(layer, tile, block, core.column, core.port, core.theta, **found)


def _paths(change: Complex, x: Complex, w: Complex, real: bool) -> Real:
    """As `_squares` for single guides: factors (K,), light (K, B) before, rows (K, J) behind."""
    whole = np.abs(change) ** 2 * (np.abs(x) ** 2).sum(1) * (np.abs(w) ** 2).sum(1)
    if real:
        whole = (whole + (change**2 * (x**2).sum(1) * (w**2).sum(1)).real) / 2
    return np.asarray(np.maximum(whole, 0.0))


def _squares(b: Complex, d: Complex, f: Complex, real: bool) -> Real:
    """sum |b^T D f|^2 over outputs and inputs, or of its real part; (K, 2, J), (K, 2, 2),
    (K, 2, B) to (K,)."""
    fields, rows = f @ f.conj().transpose(0, 2, 1), b.conj() @ b.transpose(0, 2, 1)
    whole = np.einsum("kax,kac,kxy,kcy->k", rows, d.conj(), d, fields.conj(), optimize=True).real
    if not real:
        return np.asarray(whole, np.float64)
    fields, rows = f @ f.transpose(0, 2, 1), b @ b.transpose(0, 2, 1)
    twice = np.einsum("kax,kac,kxy,kcy->k", rows, d, d, fields, optimize=True).real
    return np.asarray(np.maximum((whole + twice) / 2, 0.0))


def _attenuators(
    layer: str, tile: TileDevices, x: Complex, w: Complex, real: bool, scale: float
) -> BlockSensitivity:
    """Each channel is one path: light x (r, B) before it, rows w (r, J) behind it."""
    devices = tile.sigma
    theta = devices.theta.phase_rad
    parts = dict(mzi_derivatives(theta_rad=theta, phi_rad=np.zeros_like(theta)))
    turn = np.exp(1j * (np.pi / 2 + theta / 2 + devices.common_rad))
    active: Real = (devices.theta.active > 0).astype(np.float64)
    upper, lower = devices.theta.on_arms(active)
    through = {name: part[:, 0, 1] for name, part in parts.items()}
    there = devices.gone == 0
    ways = {
        "theta": upper * through["arm_upper"] + lower * through["arm_lower"],
        "first": there * through["first"],
        "second": there * through["second"],
        "loss": np.where(there, through["loss_db"], -np.log(10.0) / 20.0),
    }
    found: dict[str, Real] = {
        name: scale * _paths(way * turn, x, w, real) for name, way in ways.items()
    }
    count = len(theta)
    column, ports = np.zeros(count, np.int32), np.arange(count)
    none = np.zeros(count)
    found |= {"phi": none, "out": np.zeros(0), "static": none}
    return BlockSensitivity(layer, tile.name, "s", column, ports, theta, **found)


def expected_errors(found: list[BlockSensitivity], sizes: Imperfections) -> dict[str, float]:
    """The expected squared relative error of every layer's output, all its devices together."""
    total: dict[str, float] = {}
    for block in found:
        behind = sizes.phase_rad**2 * float(block.out.sum())
        here = float(block.expected(sizes).sum()) + behind
        total[block.layer] = total.get(block.layer, 0.0) + here
    return total
