"""Imperfect copies of a mesh: drawn errors, perturbed cells, and light through them.

The random numbers are counter-based: copy c of MZI (column, port) under a seed has the same
errors whatever the other copies, the split into workers, and the MZIs that were pruned.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels import reference
from onnx2mzi.kernels.check import C128, F64, KernelError
from onnx2mzi.kernels.mesh import BalancedMesh
from onnx2mzi.kernels.native import extension, mesh_arguments
from onnx2mzi.kernels.propagate import as_fields

QUANTITIES = 5
"""Errors an MZI draws: theta, phi, first coupler, second coupler, loss."""

_GOLDEN = 0x9E3779B97F4A7C15
_COPY = 0xD1B54A32D192ED03
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Standard deviations of independent Gaussian errors of every MZI.

    theta_rad and phi_rad add to the phases, coupler_rad to the coupler angle pi/4 of each of the
    two couplers; loss_db is the mean insertion loss of an MZI and loss_sigma_db its spread
    (a negative loss is cut to 0).
    """

    theta_rad: float = 0.0
    phi_rad: float = 0.0
    coupler_rad: float = 0.0
    loss_db: float = 0.0
    loss_sigma_db: float = 0.0

    def __post_init__(self) -> None:
        for name in ("theta_rad", "phi_rad", "coupler_rad", "loss_db", "loss_sigma_db"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise KernelError(f"{name} must be finite and not negative")

    def scales(self) -> F64:
        """theta, phi, coupler, loss sigma and loss mean, (5,)."""
        return np.array(
            [self.theta_rad, self.phi_rad, self.coupler_rad, self.loss_sigma_db, self.loss_db]
        )


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _key(seed: int, copy: int) -> int:
    return _mix((_mix((seed + _GOLDEN) & _MASK) + (copy + 1) * _COPY) & _MASK)


def _normals(keys: npt.NDArray[np.uint64], address: npt.NDArray[np.uint64]) -> F64:
    """Six standard normals for each key and MZI, (count, K, 6): splitmix64 and Box-Muller."""
    counter = address[None, :, None] * np.uint64(8) + np.arange(1, 7, dtype=np.uint64)
    z = np.asarray(keys[:, None, None] + counter * np.uint64(_GOLDEN), dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform = ((z >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    radius = np.sqrt(-2.0 * np.log(uniform[..., 0::2]))
    angle = 2.0 * np.pi * (uniform[..., 1::2] - 0.5)
    out = np.empty(z.shape)
    out[..., 0::2] = radius * np.cos(angle)
    out[..., 1::2] = radius * np.sin(angle)
    return out


def _arguments(seed: int, first: int, count: int) -> None:
    if first < 0 or count < 1 or first + count > 2**63:
        raise KernelError(f"copies {first} .. {first + count - 1} are not a range of copies")
    if not 0 <= seed < 2**64:
        raise KernelError(f"seed {seed} does not fit 64 bits")


def _sample(mesh: BalancedMesh, errors: ErrorModel, seed: int, first: int, count: int) -> F64:
    keys = np.array([_key(seed, c) for c in range(first, first + count)], dtype=np.uint64)
    address = mesh.column.astype(np.uint64) * np.uint64(mesh.ports) + mesh.port.astype(np.uint64)
    normals = _normals(keys, address)[..., :QUANTITIES]
    theta, phi, coupler, loss_sigma, loss = errors.scales().tolist()
    drawn: F64 = normals * np.array([theta, phi, coupler, coupler, loss_sigma])
    drawn[..., 4] = np.maximum(drawn[..., 4] + loss, 0.0)
    return drawn


def sample_errors(
    mesh: BalancedMesh, errors: ErrorModel, *, seed: int, count: int, first: int = 0
) -> F64:
    """Errors (count, K, 5) of the copies first .. first + count - 1.

    Along the last axis: error of theta, of phi, of the first and of the second coupler's angle
    (all rad), and the loss in dB.
    """
    _arguments(seed, first, count)
    return _sample(mesh, errors, seed, first, count)


def imperfect_cells(mesh: BalancedMesh, drawn: npt.ArrayLike) -> C128:
    """The 2 x 2 matrices (..., K, 2, 2) of the MZIs with errors (..., K, 5).

    B(a2) P(theta + d) B(a1) P(phi + d') 10^(-loss / 20) / (i e^{i theta / 2}) with
    B(a) = [[cos a, i sin a], [i sin a, cos a]], a = pi/4 + error, P(x) = diag(e^{ix}, 1):
    without errors exactly the balanced cell.
    """
    d = np.asarray(drawn, dtype=np.float64)
    if d.shape[-2:] != (mesh.count, QUANTITIES):
        raise KernelError(f"errors of shape {d.shape} do not fit {mesh.count} MZIs")
    c1, s1 = np.cos(np.pi / 4 + d[..., 2]), np.sin(np.pi / 4 + d[..., 2])
    c2, s2 = np.cos(np.pi / 4 + d[..., 3]), np.sin(np.pi / 4 + d[..., 3])
    lit, dark = np.exp(1j * (mesh.theta / 2 + d[..., 0])), np.exp(-0.5j * mesh.theta)
    amplitude = 10.0 ** (-d[..., 4] / 20.0)
    upper = amplitude * np.exp(1j * (mesh.phi + d[..., 1]))
    m = np.empty((*d.shape[:-1], 2, 2), dtype=np.complex128)
    m[..., 0, 0] = -1j * (c2 * c1 * lit - s2 * s1 * dark) * upper
    m[..., 0, 1] = (c2 * s1 * lit + s2 * c1 * dark) * amplitude
    m[..., 1, 0] = (s2 * c1 * lit + c2 * s1 * dark) * upper
    m[..., 1, 1] = -1j * (c2 * c1 * dark - s2 * s1 * lit) * amplitude
    return m


def propagate_imperfect(
    mesh: BalancedMesh,
    x: npt.ArrayLike,
    errors: ErrorModel,
    *,
    seed: int,
    count: int,
    first: int = 0,
) -> C128:
    """Outputs (count, ports, B) of the copies first .. first + count - 1 for x (ports, B)."""
    _arguments(seed, first, count)
    v = as_fields(x, mesh.ports, "x").astype(np.complex128, copy=False)
    out = np.empty((count, *v.shape), dtype=np.complex128)
    native = extension()
    if native is not None:
        a = mesh_arguments(mesh)
        native.imperfect(a, v, v.shape[1], errors.scales(), seed, first, count, out)
        return out
    d = reference.output_factors(mesh, False)
    for i in range(count):
        drawn = _sample(mesh, errors, seed, first + i, 1)[0]
        out[i] = reference.propagate_cells(mesh, imperfect_cells(mesh, drawn), d, v)
    return out
