"""Phases that make up for couplers whose splitting is known, MZI by MZI.

An MZI with coupler errors a and b sends between sin^2(a + b) and cos^2(a - b) of the power to
the same port. Inside of that range another theta splits as asked; what is left are phases,
which go into phi and travel on. Bandyopadhyay, Hamerly and Englund, Optica 8, 1247 (2021):
exact wherever all targets are within range, first order elsewhere.
"""

from dataclasses import dataclass

import numpy as np

from onnx2mzi.kernels import BalancedMesh, build, cells_vjp, propagate_cells
from onnx2mzi.kernels.gauge import column_slices
from onnx2mzi.physics.arrays import Complex, Real, wrapped
from onnx2mzi.physics.imperfection_cell import CellErrors, arm_derivatives, imperfect_mzi


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A mesh to set, for couplers as they are, and which targets were `reachable`, (K,)."""

    mesh: BalancedMesh
    reachable: np.ndarray


def corrected(mesh: BalancedMesh, *, first: Real, second: Real) -> Corrected:
    """The phases with which couplers of angles pi/4 + first and pi/4 + second, (K,) each, come
    closest to the ideal `mesh`, MZI by MZI."""
    least = np.sin(first + second) ** 2
    span = np.cos(first - second) ** 2 - least
    wanted = np.sin(mesh.theta / 2) ** 2
    share = np.divide(wanted - least, span, out=np.zeros_like(wanted), where=span > 0)
    reachable = (share >= 0) & (share <= 1)
    half = np.arcsin(np.sqrt(np.clip(share, 0.0, 1.0)))
    # theta in [0, pi] or its negative: both have cos(theta / 2) >= 0.
    theta = 2 * half * np.where(mesh.theta < 0, -1.0, 1.0)
    errors = CellErrors(first=first, second=second)
    made = imperfect_mzi(theta_rad=theta, phi_rad=np.zeros_like(theta), errors=errors)
    sign = np.where(np.sin(mesh.theta / 2) < 0, -1.0, 1.0)
    upper = np.angle(made[:, 0, 1])
    lower = np.angle(-sign * made[:, 1, 1])
    # The phase of the lit arm's column, seen where there is more light.
    by_bar = np.angle(sign * made[:, 0, 0]) - upper
    by_cross = np.angle(made[:, 1, 0]) - lower
    turn = np.where(np.abs(made[:, 0, 0]) > np.abs(made[:, 1, 0]), by_bar, by_cross)
    phi = np.empty_like(theta)
    carried = np.zeros(mesh.ports)
    for cut in column_slices(mesh.column):
        above, below = carried[mesh.port[cut]], carried[mesh.port[cut] + 1]
        phi[cut] = mesh.phi[cut] - turn[cut] - above + below
        carried[mesh.port[cut]] = upper[cut] + below
        carried[mesh.port[cut] + 1] = lower[cut] + below
    out = wrapped(mesh.out - carried)
    return Corrected(
        BalancedMesh(mesh.ports, mesh.column, mesh.port, theta, wrapped(phi), out), reachable
    )


def polished(
    start: BalancedMesh, target: BalancedMesh, *, first: Real, second: Real, sweeps: int = 20
) -> BalancedMesh:
    """`start` with every MZI in turn set to its best, the others as they are; never worse.

    Re tr(U^H U') is what counts. With all else fixed it is Re tr(A C) for a 2 x 2 matrix A and the
    cell C(theta, phi) = C(theta) diag(e^{i phi}, 1), so phi follows from theta, and theta from
    a search on a line. Output phases are set once a sweep. MZIs that cannot split as asked are
    made up for by their neighbours, which `corrected` leaves alone.
    """
    theta, phi, out = np.array(start.theta), np.array(start.phi), np.array(start.out)
    # The cell is linear in lit = e^{i theta/2} and dark = e^{-i theta/2}.
    parts = _linear_parts(first, second)
    wanted = np.asarray(build(target), np.complex128).conj().T
    for _ in range(sweeps):
        mesh = BalancedMesh(start.ports, start.column, start.port, theta, phi, out)
        light = with_couplers(mesh, first=first, second=second)
        out = out - np.angle(np.einsum("ij,ji->i", light, wanted))
        light = light * np.exp(1j * (out - mesh.out))[:, None]
        behind = wanted * np.exp(1j * out)
        before = np.exp(-1j * out)[:, None] * light
        # Backwards through the mesh: `before` loses a cell, `behind` gains it.
        cells = _set(parts, theta, phi)
        for k in range(len(theta) - 1, -1, -1):
            two = slice(start.port[k], start.port[k] + 2)
            before[two] = cells[k].conj().T @ before[two]
            theta[k], phi[k] = _best(before[two] @ behind[:, two], parts[:, k])
            cells[k] = _set(parts[:, k : k + 1], theta[k : k + 1], phi[k : k + 1])[0]
            behind[:, two] = behind[:, two] @ cells[k]
    return BalancedMesh(start.ports, start.column, start.port, theta, wrapped(phi), wrapped(out))


def optimised(
    start: BalancedMesh,
    target: BalancedMesh,
    *,
    first: Real,
    second: Real,
    crossings: np.ndarray | None = None,
    steps: int = 1000,
) -> BalancedMesh:
    """`start` with all phases moved together until ||U' - U|| is least: L-BFGS with the gradients
    of the imperfect cells. `start` may have more columns than `target`. MZIs that `crossings`
    marks, (K,), are waveguide crossings: no theta, no couplers."""
    from scipy.optimize import minimize

    bare = np.zeros(start.count, bool) if crossings is None else np.asarray(crossings, bool)
    first, second = np.where(bare, 0.0, first), np.where(bare, 0.0, second)
    errors, count = CellErrors(first=first, second=second), start.count
    wanted = np.asarray(build(target), np.complex128)
    eye = np.eye(start.ports, dtype=np.complex128)

    def mesh(values: Real) -> BalancedMesh:
        theta, phi, out = np.split(np.array(values), [count, 2 * count])
        return BalancedMesh(start.ports, start.column, start.port, theta, phi, out)

    def loss(values: Real) -> tuple[float, Real]:
        here = mesh(values)
        cells = imperfect_mzi(theta_rad=here.theta, phi_rad=here.phi, errors=errors)
        light = np.asarray(propagate_cells(here, cells, eye), np.complex128)
        off = light - wanted
        by_cell, _ = cells_vjp(here, cells, eye, 2 * off)
        lit, dark = arm_derivatives(theta_rad=here.theta, phi_rad=here.phi, errors=errors)
        weights = by_cell.conj()
        by_theta = (weights * (lit - dark)).real.sum((1, 2)) / 2
        by_phi = (weights[:, :, 0] * 1j * cells[:, :, 0]).real.sum(1)
        by_theta[bare] = 0.0
        by_out = (2 * off.conj() * 1j * light).real.sum(1)
        return float(np.sum(np.abs(off) ** 2)), np.concatenate([by_theta, by_phi, by_out])

    options = {"maxiter": steps, "maxcor": 20, "ftol": 1e-12, "gtol": 0.0}
    at = np.concatenate([np.where(bare, 0.0, start.theta), start.phi, start.out])
    found = mesh(minimize(loss, at, jac=True, method="L-BFGS-B", options=options).x)
    return BalancedMesh(
        found.ports, found.column, found.port, found.theta, wrapped(found.phi), wrapped(found.out)
    )


def with_redundancy(mesh: BalancedMesh, pairs: int) -> BalancedMesh:
    """The same matrix with `pairs` twice a column more at the end: half-lit MZIs undo each other,
    M(pi/2) M(pi/2) = 1, and can be moved either way."""
    column, port = [mesh.column], [mesh.port]
    for k in range(2 * pairs):
        port.append(np.arange((k // 2) % 2, mesh.ports - 1, 2, dtype=np.int32))
        column.append(np.full(len(port[-1]), mesh.columns + k, np.int32))
    more = sum(len(part) for part in port[1:])
    return BalancedMesh(
        mesh.ports,
        np.concatenate(column),
        np.concatenate(port),
        np.concatenate([mesh.theta, np.full(more, np.pi / 2)]),
        np.concatenate([mesh.phi, np.zeros(more)]),
        mesh.out,
    )


def _linear_parts(first: Real, second: Real) -> Complex:
    """The factors of lit and dark in the cells at phi = 0, shape (2, K, 2, 2)."""
    zero = np.zeros(len(first))
    errors = CellErrors(first=first, second=second)
    one = imperfect_mzi(theta_rad=zero, phi_rad=zero, errors=errors)
    other = imperfect_mzi(theta_rad=zero + np.pi, phi_rad=zero, errors=errors)
    # one = L + D, other = i L - i D.
    return np.stack([(one - 1j * other) / 2, (one + 1j * other) / 2])


def _set(parts: Complex, theta: Real, phi: Real) -> Complex:
    half = np.exp(0.5j * theta)[:, None, None]
    cells = parts[0] * half + parts[1] * half.conj()
    cells[:, :, 0] *= np.exp(1j * phi)[:, None]
    return np.asarray(cells)


_GRID = np.linspace(-np.pi, np.pi, 25)


def _best(around: Complex, parts: Complex) -> tuple[float, float]:
    """The theta and phi with the largest Re tr(C around)."""
    # tr(C A) = e^{i phi} (C00 A00 + C10 A01) + (C01 A10 + C11 A11).
    lit = parts[0] * around.T
    dark = parts[1] * around.T
    p = complex(lit[0, 0] + lit[1, 0]), complex(dark[0, 0] + dark[1, 0])
    q = complex(lit[0, 1] + lit[1, 1]), complex(dark[0, 1] + dark[1, 1])
    low, high = -np.pi, np.pi
    for _ in range(4):
        theta = low + (high - low) * (_GRID + np.pi) / (2 * np.pi)
        half = np.exp(0.5j * theta)
        value = np.abs(p[0] * half + p[1] / half) + (q[0] * half + q[1] / half).real
        k = int(np.argmax(value))
        low, high = theta[max(k - 1, 0)], theta[min(k + 1, len(theta) - 1)]
    best = np.exp(0.5j * theta[k])
    return float(theta[k]), -float(np.angle(p[0] * best + p[1] / best))


def with_couplers(mesh: BalancedMesh, *, first: Real, second: Real) -> Complex:
    """The matrix (ports, ports) of a mesh whose couplers are off by these angles."""
    errors = CellErrors(first=first, second=second)
    cells = imperfect_mzi(theta_rad=mesh.theta, phi_rad=mesh.phi, errors=errors)
    light = propagate_cells(mesh, cells, np.eye(mesh.ports, dtype=np.complex128))
    return np.asarray(light, np.complex128)


def relative_error(mesh: BalancedMesh, target: BalancedMesh, *, first: Real, second: Real) -> float:
    """||U' - U|| / ||U|| (Frobenius) of `mesh` with such couplers against the ideal `target`."""
    ideal = build(target)
    found = with_couplers(mesh, first=first, second=second)
    return float(np.linalg.norm(found - ideal) / np.sqrt(mesh.ports))
