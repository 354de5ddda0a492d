"""Copies of one tile of a chip: what is wrong with them, how heaters are set, what they compute."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onnx2mzi.emulate.imperfect_devices import AttenuatorDevices, MeshDevices
from onnx2mzi.emulate.imperfect_errors import Carried, Chips
from onnx2mzi.emulate.imperfect_mesh import (
    DrawnMesh,
    MeshChange,
    drawn_mesh,
    light_behind,
    mesh_light,
    mesh_trims,
    static_errors,
)
from onnx2mzi.emulate.imperfect_row import (
    DrawnAttenuators,
    drawn_attenuators,
    static_attenuators,
)
from onnx2mzi.emulate.readout import Calibration, calibrated, factors
from onnx2mzi.emulate.retune import MadeAttenuators, MadeMesh, MadeTile, Settings, retuned
from onnx2mzi.ir import MeshTile
from onnx2mzi.kernels import BalancedMesh
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_cell import CellErrors, imperfect_mzi
from onnx2mzi.physics.imperfection_random import block_keys, normal
from onnx2mzi.tech import Technology

BLOCKS = ("v", "s", "u")
IDEAL = Imperfections()
MODULATOR, DETECTOR = 14, 15
# What a made chip keeps, so that it can be measured.
STAYS = (
    "split_rad",
    "split_shared_rad",
    "split_offset_rad",
    "split_gradient_rad_mm",
    "loss_scale",
    "loss_sigma_db",
    "crosstalk_scale",
    "fabrication_scale",
    "gradient_rad_mm2",
)


@dataclass(frozen=True, slots=True)
class Region:
    """Where a chip is imperfect: a layer, a block ("v", "s", "u") or both, and of its meshes the
    MZIs in a range of columns or of ports; None is all."""

    layer: str | None = None
    block: str | None = None
    columns: tuple[int, int] | None = None
    ports: tuple[int, int] | None = None

    def covers(self, layer: str, block: str) -> bool:
        """Whether the block is imperfect."""
        return self.layer in (None, layer) and self.block in (None, block)

    def among(self, mesh: BalancedMesh) -> npt.NDArray[np.bool_]:
        """The MZIs (K,) of a mesh in the ranges, first to last but one."""
        found = np.ones(mesh.count, bool)
        for values, ends in ((mesh.column, self.columns), (mesh.port, self.ports)):
            if ends is not None:
                found &= (values >= ends[0]) & (values < ends[1])
        return found


@dataclass(frozen=True, slots=True)
class How:
    """How copies are drawn: sizes, seed, where, trimming of static errors, calibration.

    With `retune` steps all heaters of a tile are set together for what is wrong with the copy
    and stays (`emulate.retune`), in place of trimming them one by one.
    """

    sizes: Imperfections
    seed: int = 0
    region: Region = Region()
    trim: bool = True
    calibration: Calibration = Calibration.GAIN
    retune: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TileDevices:
    """A tile on the chip: its devices, and its ideal matrix (m, n)."""

    name: str
    tile: MeshTile
    v: MeshDevices
    sigma: AttenuatorDevices
    u: MeshDevices
    ideal: Matrix
    real: bool = False


def tile_copies(
    tile: TileDevices,
    layer: str,
    technology: Technology,
    how: How,
    copies: Sequence[int],
    moment: Real | None = None,
) -> Complex:
    """What copies of the tile add to its outputs, (C, m, n), calibrated. `moment` (n, n) is the
    second moment of its inputs, for which heaters are set again."""
    chips = {
        block: Chips(
            sizes=how.sizes if how.region.covers(layer, block) else IDEAL,
            keys=block_keys(seed=how.seed, copies=copies, block=f"{tile.name}/{block}"),
            chip_keys=block_keys(seed=how.seed, copies=copies, block=""),
            coherence_mm=technology.guide.coherence_mm,
            crosstalk_db=technology.crossing.crosstalk_db,
            trim=how.trim,
        )
        for block in BLOCKS
    }
    changes = _retuned(tile, chips, how, moment) if how.retune else None
    light = _light(tile, chips, changes, how.region)
    light *= tile.tile.gain * np.exp(1j * tile.tile.readout_rad)[:, None]
    light = _ends(light, tile, chips["v"], chips["u"])
    return calibrated(light, tile.ideal, how.calibration, real=tile.real)


def _light(
    tile: TileDevices,
    chips: Mapping[str, Chips],
    changes: Sequence[Settings] | None,
    region: Region,
) -> Complex:
    """Light (C, m, n) behind U of all copies for the unit matrix."""
    channels, n, m = len(tile.sigma.gone), tile.v.ports, tile.u.ports
    fields = np.zeros((chips["v"].copies, m, n), np.complex128)
    if region.columns is not None or region.ports is not None:
        v, sigma, u = _drawn(tile, chips, changes)
        v, u = (_only(region, *pair) for pair in ((tile.v, v), (tile.u, u)))
        behind = light_behind(tile.v, v, None)
        fields[:, :channels] = behind[:, :channels] * sigma.amplitude[:, :, None]
        return light_behind(tile.u, u, fields)
    set_v, set_s, set_u = (None, None, None) if changes is None else _stacked(changes)
    behind, carried = mesh_light(tile.v, chips["v"], _entering(n), None, set_v)
    sigma = drawn_attenuators(tile.sigma, chips["s"], _first(carried, channels), set_s)
    np.multiply(behind[:, :channels], sigma.amplitude[:, :, None], out=fields[:, :channels])
    return mesh_light(tile.u, chips["u"], _widened(sigma.carried, m), fields, set_u)[0]


def _entering(ports: int) -> Carried:
    return Carried(np.zeros((1, ports)), np.ones(ports))


def _first(carried: Carried, channels: int) -> Carried:
    return Carried(carried.phase_rad[:, :channels], carried.power[:channels])


def _widened(carried: Carried, ports: int) -> Carried:
    """With dark guides behind the channels."""
    phase_rad, power = np.zeros((len(carried.phase_rad), ports)), np.zeros(ports)
    phase_rad[:, : len(carried.power)], power[: len(carried.power)] = (
        carried.phase_rad,
        carried.power,
    )
    return Carried(phase_rad, power)


def _drawn(
    tile: TileDevices,
    chips: Mapping[str, Chips],
    changes: Sequence[Settings] | None,
    *,
    told: bool = False,
) -> tuple[DrawnMesh, DrawnAttenuators, DrawnMesh]:
    """V, attenuators and U of all copies; without `changes` heaters trim what reaches them."""
    channels, n, m = len(tile.sigma.gone), tile.v.ports, tile.u.ports
    set_v, set_s, set_u = (None, None, None) if changes is None else _stacked(changes)
    v = drawn_mesh(tile.v, chips["v"], _entering(n), set_v, told=told)
    sigma = drawn_attenuators(tile.sigma, chips["s"], _first(v.carried, channels), set_s)
    leaving = _widened(sigma.carried, m)
    return v, sigma, drawn_mesh(tile.u, chips["u"], leaving, set_u, told=told)


def _only(region: Region, devices: MeshDevices, drawn: DrawnMesh) -> DrawnMesh:
    """The drawn mesh, ideal outside of the region's ranges."""
    core = devices.core
    ideal = imperfect_mzi(theta_rad=core.theta, phi_rad=core.phi, errors=CellErrors())
    here = region.among(core)[None, :, None, None]
    return replace(drawn, cells=np.where(here, drawn.cells, ideal))


def _stacked(changes: Sequence[Settings]) -> tuple[MeshChange, Real, MeshChange]:
    def all_of(name: str) -> Real:
        return np.stack([getattr(item, name) for item in changes])

    v = MeshChange(all_of("v_theta"), all_of("v_phi"), np.zeros((1, 1)))
    return v, all_of("sigma"), MeshChange(all_of("u_theta"), all_of("u_phi"), all_of("u_out"))


def _retuned(
    tile: TileDevices, chips: Mapping[str, Chips], how: How, moment: Real | None
) -> list[Settings]:
    """How the heaters of every copy are set for the errors that stay, trimming one by one being
    where the search begins."""
    still = {
        block: replace(item, sizes=item.sizes.only(*STAYS), trim=True)
        for block, item in chips.items()
    }
    v, sigma, u = _drawn(tile, still, None, told=True)
    trimmed = {
        "v_theta": v.change.theta,
        "v_phi": v.change.phi,
        "sigma": sigma.change,
        "u_theta": u.change.theta,
        "u_phi": u.change.phi,
        "u_out": np.zeros((1, tile.u.ports)),
    }
    return [
        retuned(
            made,
            tile.ideal,
            readout_of(tile, how.calibration),
            moment=moment,
            real=tile.real,
            steps=how.retune,
            start=Settings(**{name: _of(change, c) for name, change in trimmed.items()}),
        )
        for c, made in enumerate(made_tiles(tile, still))
    ]


def _of(values: Real, copy: int) -> Real:
    """Row `copy` of (C, K), or of (1, K) where all copies are alike."""
    return np.asarray(values[copy % len(values)])


def trimmed_settings(made: MadeTile) -> Settings:
    """How the heaters of one made tile are set one by one, each for what arrives at it."""
    channels, n, m = len(made.sigma.devices.gone), made.v.devices.ports, made.u.devices.ports
    v, carried = mesh_trims(
        made.v.devices, made.v.errors, made.v.out_rad, Carried(np.zeros((1, n)), np.ones(n))
    )
    row = made.sigma
    upper, lower = (np.asarray(x) for x in (row.errors.arm_upper, row.errors.arm_lower))
    heaters = row.devices.theta
    to_upper, to_lower = heaters.correction_factors()
    sigma = heaters.makes(to_upper * (upper - lower), to_lower * (upper - lower))
    common = np.where(row.devices.gone > 0, 0.0, (upper + lower + sum(heaters.on_arms(sigma))) / 2)
    behind = _first(carried, channels)
    passed = Carried(
        behind.phase_rad + row.guide_rad + common,
        behind.power * np.cos(heaters.phase_rad / 2) ** 2,
    )
    u, _ = mesh_trims(made.u.devices, made.u.errors, made.u.out_rad, _widened(passed, m))
    return Settings(v.theta[0], v.phi[0], sigma, u.theta[0], u.phi[0], np.zeros(m))


def readout_of(tile: TileDevices, calibration: Calibration) -> Callable[[Complex], Complex]:
    """The factors, (m, 1) or (1, 1), that electronics would set for some light (m, n)."""

    def factors_of(light: Complex) -> Complex:
        found = factors(light[None], tile.ideal, calibration, real=tile.real)[0]
        return np.asarray(found, np.complex128)

    return factors_of


def made_tiles(tile: TileDevices, chips: Mapping[str, Chips]) -> list[MadeTile]:
    """The copies as measured: everything that is wrong with them but for what heaters do."""
    v, u = (_made_meshes(getattr(tile, block), chips[block]) for block in ("v", "u"))
    errors, guide = static_attenuators(tile.sigma, chips["s"])
    turn = tile.tile.gain * np.exp(1j * tile.tile.readout_rad)
    sigma = [MadeAttenuators(tile.sigma, errors.of_copy(c), _of(guide, c)) for c in range(len(v))]
    return [MadeTile(*blocks, turn) for blocks in zip(v, sigma, u, strict=True)]


def _made_meshes(devices: MeshDevices, chips: Chips) -> list[MadeMesh]:
    errors, out_rad = static_errors(devices, chips)
    lost, leak = chips.kept(devices.common_db), chips.leak
    return [
        MadeMesh(devices, errors.of_copy(c), _of(out_rad, c), lost, leak)
        for c in range(chips.copies)
    ]


def _ends(light: Complex, tile: TileDevices, v: Chips, u: Chips) -> Complex:
    """Modulators before V and detectors behind U that are not alike."""
    if v.sizes.modulator > 0:
        device = np.arange(tile.v.ports)
        drawn = normal(keys=v.keys, device=device, stream=MODULATOR)
        light = light * (1 + v.sizes.modulator * drawn[:, None, :])
    if u.sizes.detector > 0:
        device = np.arange(tile.u.ports)
        drawn = normal(keys=u.keys, device=device, stream=DETECTOR)
        light = light * (1 + u.sizes.detector * drawn[:, :, None])
    return light
