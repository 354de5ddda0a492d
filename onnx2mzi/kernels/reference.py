"""The kernels in numpy, written to be read: the fallback without a compiler and the tests' oracle.

Every function takes contiguous, verified arrays and knows nothing of the extension.
"""

import math
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnx2mzi.kernels.check import C128, F64, I32, Matrix
from onnx2mzi.kernels.mesh import BalancedMesh

Layout: TypeAlias = tuple[I32, I32]
PI = math.pi
BELOW_PI = math.nextafter(PI, 0.0)


def _unit(v: complex) -> complex:
    # A subnormal number has few digits left: its modulus is taken after scaling.
    if abs(v) < 1e-150:
        v *= 2.0**900
    return v / abs(v)


def _rotation(x: complex, z: complex, real: bool) -> tuple[float, float, complex]:
    """|x| / h, |z| / h and the phase of x conj(z); the phase is 1 where it has no meaning."""
    ax, az = abs(x), abs(z)
    h = math.hypot(ax, az)
    if h == 0.0:
        return 0.0, 0.0, 1.0
    if h < 1e-150:
        ax, az = ax * 2.0**900, az * 2.0**900
        h = math.hypot(ax, az)
    if ax == 0.0 or az == 0.0:
        return ax / h, az / h, 1.0
    if real:
        return ax / h, az / h, math.copysign(1.0, x.real) * math.copysign(1.0, z.real)
    e = _unit(x) * _unit(z).conjugate()
    return ax / h, az / h, e / abs(e)


def _phase(v: complex) -> float:
    angle = math.atan2(v.imag, v.real)
    return PI if angle == -PI else angle


def _theta(s: float, c: float) -> float:
    return max(2.0 * math.atan2(s, c), -BELOW_PI)


class _Sink:
    """Phases by the address (column, port), and the order of the mesh."""

    def __init__(self, columns: int, ports: int) -> None:
        self.theta = np.zeros((columns, ports))
        self.phi = np.zeros((columns, ports))

    def put(self, column: int, port: int, s: float, c: float, e: complex) -> None:
        self.theta[column, port], self.phi[column, port] = _theta(s, c), _phase(e)

    def mesh(self, ports: int, layout: Layout, out: F64) -> BalancedMesh:
        column, port = layout
        return BalancedMesh(
            ports, column, port, self.theta[column, port], self.phi[column, port], out
        )


def _null_right(
    w: Matrix, row: int, p: int, upper: bool, real: bool
) -> tuple[float, float, complex]:
    """w <- w M^dagger on columns (p, p + 1) so that w[row, p] (upper) or w[row, p + 1] is 0.

    Returns s, c and e = e^{i phi} of M.
    """
    rx, rz, e = _rotation(complex(w[row, p]), complex(w[row, p + 1]), real)
    s, c = (rz, rx) if upper else (rx, rz)
    if s == 0.0:
        c = 1.0
    if upper:
        e = -e if rx > 0.0 and rz > 0.0 else e
    if real:
        s, e = s * e.real, 1.0
    a, b = w[:, p] * np.conj(e) if not real else w[:, p].copy(), w[:, p + 1].copy()
    w[:, p] = s * a + c * b
    w[:, p + 1] = c * a - s * b
    w[row, p if upper else p + 1] = 0.0
    return s, c, e


Left = tuple[int, int, float, float, complex, complex]


def _null_left(w: Matrix, line: int, p: int, real: bool) -> tuple[float, float, complex]:
    """w <- L^dagger w on rows (p, p + 1), L = diag(1, e) [[s, c], [c, -s]], w[p + 1, line] -> 0."""
    s, c, e = _rotation(complex(w[p, line]), complex(w[p + 1, line]), real)
    e = e.conjugate()
    if s == 0.0:
        c = 1.0
    if real:
        s, e = s * e.real, 1.0
    a, b = w[p].copy(), w[p + 1] * np.conj(e) if not real else w[p + 1].copy()
    w[p] = s * a + c * b
    w[p + 1] = c * a - s * b
    w[p + 1, line] = 0.0
    return s, c, e


def _push(lefts: list[Left], d: list[complex], sink: _Sink, real: bool) -> None:
    """L_1 ... L_k diag(d) = diag(d') M_1 ... M_k; the phases of the M go to the sink.

    L = diag(f, e) [[s, c], [c, -s]]: either f or e is 1.
    """
    for column, p, s, c, f, e in reversed(lefts):
        d1, d2 = d[p], d[p + 1]
        turn: complex = 1.0
        if c == 0.0:
            s = abs(s)
            d[p], d[p + 1] = f * d1, e * d2
        elif s == 0.0:
            d[p], d[p + 1] = f * d2, e * d1
        elif real:
            s *= (d1 * d2).real
            d[p], d[p + 1] = d2, d1
        else:
            turn = d1 * d2.conjugate()
            d[p], d[p + 1] = f * d2, e * d2
        sink.put(column, p, s, c, turn)


def _output_phases(d: list[complex], real: bool) -> F64:
    if real:
        return np.array([PI if v.real < 0.0 else 0.0 for v in d])
    return np.array([_phase(v) for v in d])


def _units(d: npt.NDArray[np.generic], real: bool) -> list[complex]:
    if real:
        return [complex(math.copysign(1.0, float(v.real))) for v in d]
    return [_unit(complex(v)) if v != 0 else 1.0 for v in d]


def clements(u: Matrix, layout: Layout) -> BalancedMesh:
    """Rectangular mesh of a unitary (n, n), Clements et al. 2016 in the balanced gauge."""
    w, n, real = u.copy(), len(u), np.isrealobj(u)
    sink, lefts = _Sink(n, n), list[Left]()
    for i in range(1, n):
        for t in range(i):
            if i % 2:
                p = i - 1 - t
                sink.put(t, p, *_null_right(w, p + n - i, p, True, real))
            else:
                p = n - i + t - 1
                s, c, e = _null_left(w, t, p, real)
                lefts.append((n - 1 - t, p, s, c, 1.0, e))
    d = _units(np.diagonal(w), real)
    _push(lefts, d, sink, real)
    return sink.mesh(n, layout, _output_phases(d, real))


def rows(a: Matrix, channels: int, layout: Layout) -> BalancedMesh:
    """Truncated triangle: `channels` rows of a (r, n) are nulled one after the other."""
    w, (r, n), real = a.copy(), a.shape, np.isrealobj(a)
    sink = _Sink(max(n + channels, 1), n)
    for k in range(channels):
        for p in range(n - 2, k - 1, -1):
            sink.put(2 * k + n - 2 - p, p, *_null_right(w, k, p, False, real))
    out = np.zeros(n)
    out[:r] = _output_phases(_units(np.diagonal(w), real), real)
    return sink.mesh(n, layout, out)


def columns(a: Matrix, layout: Layout) -> BalancedMesh:
    """The mirror image of `rows` for a (m, r)."""
    w, (m, r), real = a.T.copy(), a.shape, np.isrealobj(a)
    sink, lefts = _Sink(max(m + r, 1), m), list[Left]()
    for k in range(r):
        for p in range(m - 2, k - 1, -1):
            s, c, e = _null_right(w, k, p, False, real)
            lefts.append((r - 1 - 2 * k + p, p, s, c, e, 1.0))  # M^T = diag(e, 1) R
    d = _units(np.diagonal(w), real) + [1.0 + 0.0j] * (m - r)
    _push(lefts, d, sink, real)
    return sink.mesh(m, layout, _output_phases(d, real))


def spans(mesh: BalancedMesh) -> list[slice]:
    """One slice of the MZI arrays for each occupied column, in the order of light."""
    edges = np.flatnonzero(np.diff(mesh.column)) + 1
    bounds = [0, *edges.tolist(), mesh.count]
    return [slice(a, b) for a, b in pairwise(bounds) if b > a]


def cells(mesh: BalancedMesh, real: bool) -> Matrix:
    """The 2 x 2 matrices of all MZIs, (K, 2, 2)."""
    s, c = np.sin(mesh.theta / 2), np.cos(mesh.theta / 2)
    e = np.ones_like(s) if real else np.exp(1j * mesh.phi)
    return np.stack((e * s, c + 0 * e, e * c, -s + 0 * e), axis=1).reshape(-1, 2, 2)


def output_factors(mesh: BalancedMesh, real: bool) -> Matrix:
    """e^{i out}, real when asked for."""
    return np.cos(mesh.out) if real else np.exp(1j * mesh.out)


def propagate_cells(mesh: BalancedMesh, m: Matrix, d: Matrix, x: Matrix) -> Matrix:
    """Any 2 x 2 cells m (K, 2, 2) in place of the mesh's own; x (ports, B) -> (ports, B)."""
    y = x.astype(np.result_type(m, d, x))
    for span in spans(mesh):
        p = mesh.port[span]
        a, b = y[p], y[p + 1]
        y[p] = m[span, 0, 0, None] * a + m[span, 0, 1, None] * b
        y[p + 1] = m[span, 1, 0, None] * a + m[span, 1, 1, None] * b
    y *= d[:, None]
    return y


def forward_taps(mesh: BalancedMesh, x: C128) -> C128:
    """Fields at the two inputs of each MZI, (K, 2, B)."""
    taps = np.empty((mesh.count, 2, x.shape[1]), dtype=np.complex128)
    m, y = cells(mesh, False), x.copy()
    for span in spans(mesh):
        p = mesh.port[span]
        a, b = y[p], y[p + 1]
        taps[span, 0], taps[span, 1] = a, b
        y[p] = m[span, 0, 0, None] * a + m[span, 0, 1, None] * b
        y[p + 1] = m[span, 1, 0, None] * a + m[span, 1, 1, None] * b
    return taps


def backward_taps(mesh: BalancedMesh, w: C128) -> C128:
    """Rows of the transfer from each MZI's outputs to w^T y, (K, 2, m)."""
    taps = np.empty((mesh.count, 2, w.shape[1]), dtype=np.complex128)
    m, v = cells(mesh, False), w * output_factors(mesh, False)[:, None]
    for span in reversed(spans(mesh)):
        p = mesh.port[span]
        a, b = v[p], v[p + 1]
        taps[span, 0], taps[span, 1] = a, b
        v[p] = m[span, 0, 0, None] * a + m[span, 1, 0, None] * b
        v[p + 1] = m[span, 0, 1, None] * a + m[span, 1, 1, None] * b
    return taps


def cells_vjp(mesh: BalancedMesh, m: C128, d: C128, x: C128, g: C128) -> tuple[C128, C128]:
    """Gradients of any 2 x 2 cells m (K, 2, 2), and of x, from those of the outputs."""
    kept = np.empty((mesh.count, 2, x.shape[1]), dtype=np.complex128)
    y = x.copy()
    for span in spans(mesh):
        p = mesh.port[span]
        a, b = y[p], y[p + 1]
        kept[span, 0], kept[span, 1] = a, b
        y[p] = m[span, 0, 0, None] * a + m[span, 0, 1, None] * b
        y[p + 1] = m[span, 1, 0, None] * a + m[span, 1, 1, None] * b
    grad, g, h = np.empty_like(m), g * d.conj()[:, None], m.conj()
    for span in reversed(spans(mesh)):
        p = mesh.port[span]
        a, b = g[p], g[p + 1]
        grad[span] = np.stack((a, b), 1) @ kept[span].conj().transpose(0, 2, 1)
        g[p] = h[span, 0, 0, None] * a + h[span, 1, 0, None] * b
        g[p + 1] = h[span, 0, 1, None] * a + h[span, 1, 1, None] * b
    return grad, g


def vjp(mesh: BalancedMesh, y: C128, g: C128) -> tuple[F64, F64, F64, C128]:
    """Gradients of theta, phi, out and x from the output y and g = dL/dRe y + i dL/dIm y."""
    grad_theta, grad_phi = np.empty(mesh.count), np.empty(mesh.count)
    m = cells(mesh, False).conj()
    d = output_factors(mesh, False).conj()[:, None]
    grad_out = np.einsum("pb,pb->p", g, y.conj()).imag
    v, g = y * d, g * d
    for span in reversed(spans(mesh)):
        p = mesh.port[span]
        a, b, ga, gb = v[p], v[p + 1], g[p], g[p + 1]
        grad_theta[span] = 0.5 * (ga.conj() * b - gb.conj() * a).real.sum(axis=1)
        for w, top, low in ((v, a, b), (g, ga, gb)):
            w[p] = m[span, 0, 0, None] * top + m[span, 1, 0, None] * low
            w[p + 1] = m[span, 0, 1, None] * top + m[span, 1, 1, None] * low
        grad_phi[span] = -(g[p].conj() * v[p]).imag.sum(axis=1)
    return grad_theta, grad_phi, grad_out, g
