"""Setting a made chip: all heaters of a tile together, for errors that have been measured.

Trimming heater by heater (`imperfect_mesh`) undoes a static phase only where a heater sits. Here
all heaters that a tile has make up for all of its errors at once: least squares of the tile's
calibrated matrix against the ideal one, by L-BFGS (Byrd et al., SIAM J. Sci. Comput. 16, 1190
(1995)) with exact gradients of the imperfect cells (`kernels.cells_vjp`). A heater stays on its
arm: what it would have to make below 0 it makes as 2 pi less.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import numpy as np

from onnx2mzi.emulate.imperfect_devices import AttenuatorDevices, Heaters, MeshDevices
from onnx2mzi.kernels import cells_vjp, propagate_cells
from onnx2mzi.physics.arrays import Complex, Matrix, Real
from onnx2mzi.physics.imperfection_cell import (
    ERRORS,
    CellErrors,
    arm_derivatives,
    imperfect_crossing,
    imperfect_mzi,
)

STEPS = 200
# Steps end where one gains less than this share of the error.
SMALL_GAIN = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class MadeMesh:
    """One made mesh: errors of its K cells, static phases (ports,) behind the last column, the
    amplitude that every guide keeps, and the amplitude that crossings leak."""

    devices: MeshDevices
    errors: CellErrors
    out_rad: Real
    kept: float = 1.0
    leak: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MadeAttenuators:
    """One made row of attenuators: errors and static phases of its guides, (r,) each."""

    devices: AttenuatorDevices
    errors: CellErrors
    guide_rad: Real


@dataclass(frozen=True, slots=True, eq=False)
class MadeTile:
    """A made tile. `turn`, shape (m,), is gain and readout angle of every output."""

    v: MadeMesh
    sigma: MadeAttenuators
    u: MadeMesh
    turn: Complex


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """How much more than its design every heater makes, rad; 0 where there is none.

    Shapes: (K,) theta and phi of both meshes, (r,) sigma, (ports,) out of U.
    """

    v_theta: Real
    v_phi: Real
    sigma: Real
    u_theta: Real
    u_phi: Real
    u_out: Real

    @classmethod
    def of(cls, tile: MadeTile, values: Real) -> "Settings":
        """From the values of the active heaters alone, in the order of the fields."""
        found, start = [], 0
        for heaters in _heaters(tile):
            there = np.flatnonzero(heaters.active)
            whole = np.zeros(len(heaters.active))
            whole[there] = values[start : start + len(there)]
            start += len(there)
            found.append(whole)
        return cls(*found)


def _heaters(tile: MadeTile) -> tuple[Heaters, ...]:
    v, u = tile.v.devices, tile.u.devices
    return v.theta, v.phi, tile.sigma.devices.theta, u.theta, u.phi, u.out


def heaters_of(tile: MadeTile) -> int:
    """Active heaters of a tile."""
    return sum(int(np.count_nonzero(heaters.active)) for heaters in _heaters(tile))


def light_of(tile: MadeTile, settings: Settings) -> Complex:
    """What detectors see of every input, (m, n), before any calibration."""
    return _through(tile, settings).light


@dataclass(frozen=True, slots=True, eq=False)
class _Light:
    """Everything on the way that the gradient needs."""

    v_cells: Complex
    v_out: Complex
    behind_v: Complex
    amplitude: Complex
    u_cells: Complex
    u_out: Complex
    light: Complex


def _through(tile: MadeTile, settings: Settings) -> _Light:
    v, u, channels = tile.v, tile.u, len(tile.sigma.devices.gone)
    v_cells = _cells(v, settings.v_theta, settings.v_phi)
    v_out = v.kept * np.exp(1j * (v.devices.after_rad + v.out_rad))
    eye = np.eye(v.devices.ports, dtype=np.complex128)
    behind_v = (v_out[:, None] * propagate_cells(v.devices.core, v_cells, eye))[:channels]
    amplitude = _amplitudes(tile.sigma, settings.sigma)
    u_cells = _cells(u, settings.u_theta, settings.u_phi)
    u_out = u.kept * np.exp(1j * (u.devices.after_rad + u.out_rad + settings.u_out))
    at_u = np.zeros((u.devices.ports, eye.shape[1]), np.complex128)
    at_u[:channels] = amplitude[:, None] * behind_v
    light = (tile.turn * u_out)[:, None] * propagate_cells(u.devices.core, u_cells, at_u)
    return _Light(v_cells, v_out, behind_v, amplitude, u_cells, u_out, light)


def _set(heaters: Heaters, change: Real, errors: CellErrors, place: str) -> CellErrors:
    upper, lower = heaters.on_arms(change)
    return replace(
        errors,
        **{
            f"{place}_upper": getattr(errors, f"{place}_upper") + upper,
            f"{place}_lower": getattr(errors, f"{place}_lower") + lower,
        },
    )


def _mesh_errors(mesh: MadeMesh, theta: Real, phi: Real) -> CellErrors:
    errors = _set(mesh.devices.theta, theta, mesh.errors, "arm")
    return _set(mesh.devices.phi, phi, errors, "in")


def _cells(mesh: MadeMesh, theta: Real, phi: Real) -> Complex:
    core, errors = mesh.devices.core, _mesh_errors(mesh, theta, phi)
    cells = imperfect_mzi(theta_rad=core.theta, phi_rad=core.phi, errors=errors)
    cells = np.array(np.broadcast_to(cells, (core.count, 2, 2)))
    bare = np.flatnonzero(mesh.devices.crossing)
    if len(bare):
        cells[bare] = imperfect_crossing(
            phi_rad=core.phi[bare], errors=_part(errors, bare), leak=mesh.leak
        )
    return cells


def _part(errors: CellErrors, where: np.ndarray) -> CellErrors:
    values = {name: getattr(errors, name) for name in ERRORS}
    return CellErrors(
        **{n: value if np.ndim(value) == 0 else value[where] for n, value in values.items()}
    )


def _attenuated(row: MadeAttenuators, change: Real) -> tuple[CellErrors, Complex]:
    """Errors with the heaters' change, and the phase that every channel gathers beside."""
    devices = row.devices
    theta = devices.theta.phase_rad
    turn = np.exp(1j * (np.pi / 2 + theta / 2 + devices.common_rad + row.guide_rad))
    return _set(devices.theta, change, row.errors, "arm"), np.asarray(turn)


def _amplitudes(row: MadeAttenuators, change: Real) -> Complex:
    devices = row.devices
    errors, turn = _attenuated(row, change)
    theta = devices.theta.phase_rad
    through = imperfect_mzi(theta_rad=theta, phi_rad=np.zeros_like(theta), errors=errors)
    plain = 10.0 ** (-np.asarray(errors.loss_db) / 20.0)
    return np.asarray(np.where(devices.gone > 0, plain, through[..., 0, 1]) * turn)


def _gradient(tile: MadeTile, settings: Settings, there: _Light, grad: Complex) -> Real:
    """Slope of a real loss by every active heater; `grad` is dL/dRe light + i dL/dIm light."""
    v, u, channels = tile.v.devices, tile.u.devices, len(tile.sigma.devices.gone)
    by_out = (grad.conj() * 1j * there.light).real.sum(axis=1)
    g = (tile.turn * there.u_out).conj()[:, None] * grad
    at_u = np.zeros((u.ports, grad.shape[1]), np.complex128)
    at_u[:channels] = there.amplitude[:, None] * there.behind_v
    by_u, g = cells_vjp(u.core, there.u_cells, at_u, g)
    g = g[:channels]
    by_amplitude = (g * there.behind_v.conj()).sum(axis=1)
    back = np.zeros((v.ports, g.shape[1]), np.complex128)
    back[:channels] = (there.amplitude * there.v_out[:channels]).conj()[:, None] * g
    eye = np.eye(v.ports, dtype=np.complex128)
    by_v, _ = cells_vjp(v.core, there.v_cells, eye, back)
    parts = [
        *_mesh_slopes(tile.v, settings.v_theta, settings.v_phi, there.v_cells, by_v),
        _sigma_slopes(tile.sigma, settings.sigma, by_amplitude),
        *_mesh_slopes(tile.u, settings.u_theta, settings.u_phi, there.u_cells, by_u),
        by_out,
    ]
    chosen = zip(_heaters(tile), parts, strict=True)
    return np.concatenate([slopes[heaters.active > 0] for heaters, slopes in chosen])


def _mesh_slopes(
    mesh: MadeMesh, theta: Real, phi: Real, cells: Complex, grad: Complex
) -> tuple[Real, Real]:
    devices = mesh.devices
    errors, one = _mesh_errors(mesh, theta, phi), np.ones(devices.core.count)
    lit, dark = arm_derivatives(
        theta_rad=devices.core.theta, phi_rad=devices.core.phi, errors=errors
    )
    upper, lower = devices.theta.on_arms(one)
    weights = grad.conj()
    by_theta = upper * (weights * lit).real.sum((1, 2)) + lower * (weights * dark).real.sum((1, 2))
    columns = (weights * 1j * cells).real.sum(1)
    upper, lower = devices.phi.on_arms(one)
    return by_theta, upper * columns[:, 0] + lower * columns[:, 1]


def _sigma_slopes(row: MadeAttenuators, change: Real, grad: Complex) -> Real:
    devices = row.devices
    errors, turn = _attenuated(row, change)
    theta = devices.theta.phase_rad
    lit, dark = arm_derivatives(theta_rad=theta, phi_rad=np.zeros_like(theta), errors=errors)
    upper, lower = devices.theta.on_arms(np.ones_like(theta))
    slope = (upper * lit[:, 0, 1] + lower * dark[:, 0, 1]) * turn
    return np.asarray((grad.conj() * slope).real)


Calibrate = Callable[[Complex], Complex]


def retuned(
    tile: MadeTile,
    ideal: Matrix,
    calibrate: Calibrate,
    *,
    moment: Real | None = None,
    real: bool,
    start: Settings | None = None,
    steps: int = STEPS,
) -> Settings:
    """The settings with which the calibrated tile comes closest to `ideal` (m, n).

    `calibrate` gives the factors, (m, 1) or (1, 1), that electronics would set for some light
    (m, n). `moment` (n, n) is the second moment of the inputs (None: inputs independent), and of
    a `real` tile only the in-phase part is detected. `start` is where the search begins.
    """
    from scipy.optimize import minimize

    if not heaters_of(tile):
        return Settings.of(tile, np.zeros(0))
    ideal = np.asarray(ideal.real) if real else ideal
    scale = _weighed(ideal, ideal, moment)
    scale = 1.0 / scale if scale > 0 else 1.0

    def loss(values: Real) -> tuple[float, Real]:
        settings = Settings.of(tile, values)
        there = _through(tile, settings)
        factors = calibrate(there.light)
        found = factors * there.light
        off = (found.real if real else found) - ideal
        slope = off if moment is None else off @ moment
        grad = 2 * scale * factors.conj() * slope
        return scale * _weighed(off, off, moment), _gradient(tile, settings, there, grad)

    at = np.zeros(heaters_of(tile)) if start is None else _active(tile, start)
    options = {"maxiter": steps, "maxcor": 20, "ftol": SMALL_GAIN, "gtol": 0.0}
    found = minimize(loss, at, jac=True, method="L-BFGS-B", options=options)
    return Settings.of(tile, found.x)


def _active(tile: MadeTile, settings: Settings) -> Real:
    values = [getattr(settings, field.name) for field in fields(Settings)]
    chosen = zip(_heaters(tile), values, strict=True)
    return np.concatenate([value[heaters.active > 0] for heaters, value in chosen])


def _weighed(a: Matrix, b: Matrix, moment: Real | None) -> float:
    right = b if moment is None else b @ moment
    return float((a.conj() * right).real.sum())
