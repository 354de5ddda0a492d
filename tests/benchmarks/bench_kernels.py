"""Kernel timings as ratios to LAPACK and BLAS on the same matrices in the same rounds, one thread.

    python tests/benchmarks/bench_kernels.py [k1] [k2] [k3] [mc] [--max N]

Every figure is the least of interleaved rounds of this thread's CPU time.
"""

# ruff: noqa: E402  (BLAS reads its number of threads when it is imported)
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.linalg import blas, lapack

from onnx2mzi.kernels import (
    BalancedMesh,
    ErrorModel,
    build,
    clements_layout,
    decompose,
    decompose_many,
    propagate,
    propagate_imperfect,
    vjp,
)
from onnx2mzi.kernels.native import extension

Job = Callable[[], object]
C128 = npt.NDArray[np.complex128]


def race(jobs: dict[str, Job], rounds: int = 9, budget_s: float = 12.0) -> dict[str, float]:
    """Least CPU seconds of each job over interleaved rounds."""
    repeats = {}
    for name, job in jobs.items():
        job()
        start = time.thread_time()
        job()
        repeats[name] = max(1, int(3e-3 / max(time.thread_time() - start, 1e-7)))
    best = dict.fromkeys(jobs, np.inf)
    end = time.perf_counter() + budget_s
    for i in range(rounds):
        for name, job in jobs.items():
            start = time.thread_time()
            for _ in range(repeats[name]):
                job()
            best[name] = min(best[name], (time.thread_time() - start) / repeats[name])
        if i >= 2 and time.perf_counter() > end:
            break
    return best


def line(what: str, ratio: float, target: float, note: str = "") -> None:
    verdict = "hit" if ratio <= target else "MISS"
    print(f"{what:44s} {ratio:8.2f}   target {target:6.2f}  {verdict:4s} {note}", flush=True)


def haar(n: int, *, real: bool = False) -> C128:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, n))
    q: C128 = np.linalg.qr(a if real else a + 1j * rng.standard_normal((n, n)))[0]
    return np.ascontiguousarray(q)


def haar_mesh(n: int) -> BalancedMesh:
    return decompose(haar(n))


def fields(n: int, batch: int) -> C128:
    rng = np.random.default_rng(n)
    return rng.standard_normal((n, batch)) + 1j * rng.standard_normal((n, batch))


def nulling(u: npt.NDArray[np.generic]) -> Job:
    """The public call without its checks of the input: what the targets of K1 are about."""
    module = extension()
    assert module is not None
    n, cx = len(u), int(np.iscomplexobj(u))
    count = len(clements_layout(n)[0])
    theta, phi, out, defect = np.empty(count), np.empty(count), np.empty(n), np.empty(1)
    return lambda: module.clements(cx, n, 1, u, theta, phi, out, defect)


def k1(largest: int) -> None:
    print("\nK1 decompose, angles included, / zgeqrf (target x 1.3 for the angles)")
    targets = {64: 1.6, 128: 1.6, 256: 1.6, 512: 1.9, 1024: 2.4, 2048: 3.2}
    for n, target in targets.items():
        if n > largest:
            break
        u, o = haar(n), haar(n, real=True)
        f = np.asfortranarray(u)
        work = int(lapack.zgeqrf(f, lwork=-1)[2][0].real)

        def qr(f: C128 = f, work: int = work) -> object:
            return lapack.zgeqrf(f, lwork=work)

        jobs: dict[str, Job] = {
            "qr": qr,
            "complex": nulling(u),
            "real": nulling(o),
            "public": partial(decompose, u),
        }
        t = race(jobs)
        error = abs(build(decompose(u)) - u).max()
        note = f"{t['complex'] * 1e3:.3f} ms, error {error:.1e}"
        line(f"complex {n}", t["complex"] / t["qr"], 1.3 * target, note)
        line(f"  public call {n}", t["public"] / t["qr"], 1.3 * target)
        if n <= 1024:
            line(f"  real {n}", t["real"] / t["qr"], 1.3)
    stack = np.stack([haar(8)] * 1000)
    t = race({"many": lambda: decompose_many(stack)})
    print(f"decompose_many, 1000 of 8 x 8: {t['many'] * 1e3:.2f} us each")


def k2(largest: int) -> None:
    print("\nK2 propagate / zgemm")
    for n, batch in ((64, 256), (128, 256), (256, 256), (512, 512), (1024, 256)):
        if n > largest:
            break
        mesh, x = haar_mesh(n), fields(n, batch)
        u = np.asfortranarray(build(mesh))
        xf = np.asfortranarray(x)
        t = race(
            {
                "gemm": partial(blas.zgemm, 1.0, u, xf),
                "square": partial(blas.zgemm, 1.0, u, u),
                "mesh": partial(propagate, mesh, x),
                "build": partial(build, mesh),
            }
        )
        line(f"propagate {n} x {batch}", t["mesh"] / t["gemm"], 1.5, f"{t['mesh'] * 1e3:.3f} ms")
        line(f"  build {n}", t["build"] / t["square"], 1.15, f"{t['build'] * 1e3:.3f} ms")


def k3(largest: int) -> None:
    print("\nK3 forward and backward / dense complex layer (3 zgemm)")
    for n, batch in ((16, 256), (64, 256), (128, 256), (256, 256), (512, 256), (64, 4096)):
        if n > largest:
            break
        mesh, x, g = haar_mesh(n), fields(n, batch), fields(n, batch)[::-1].copy()
        u = np.asfortranarray(build(mesh))
        xf, gf = np.asfortranarray(x), np.asfortranarray(g)

        def dense(u: C128 = u, xf: C128 = xf, gf: C128 = gf) -> object:
            return (
                blas.zgemm(1.0, u, xf),
                blas.zgemm(1.0, u, gf, trans_a=2),
                blas.zgemm(1.0, gf, xf, trans_b=2),
            )

        def step(mesh: BalancedMesh = mesh, x: C128 = x, g: C128 = g) -> object:
            return vjp(mesh, None, g, y=propagate(mesh, x))

        def wide(mesh: BalancedMesh = mesh, x: C128 = x, g: C128 = g) -> object:
            return propagate(mesh, x), vjp(mesh, x, g)

        many = batch >= 64 * n
        t = race({"dense": dense, "mesh": wide if many else step})
        target = 1.1 if many else 1.8
        line(f"gradient {n} x {batch}", t["mesh"] / t["dense"], target, f"{t['mesh'] * 1e3:.3f} ms")


def mc(largest: int) -> None:
    print("\nImperfect copies / zgemm per copy")
    errors = ErrorModel(0.02, 0.02, 0.02, 0.1, 0.02)
    for n, batch in ((64, 256), (256, 256), (512, 512)):
        if n > largest:
            break
        mesh, x = haar_mesh(n), fields(n, batch)
        u, xf = np.asfortranarray(build(mesh)), np.asfortranarray(x)
        none = x[:, :0]
        t = race(
            {
                "gemm": partial(blas.zgemm, 1.0, u, xf),
                "copies": partial(propagate_imperfect, mesh, x, errors, seed=1, count=4),
                "draw": partial(propagate_imperfect, mesh, none, errors, seed=1, count=40),
            }
        )
        draw = t["draw"] / 40
        line(f"light {n} x {batch}", (t["copies"] / 4 - draw) / t["gemm"], 2.7)
        line(f"  samples {n}, ns per MZI and copy", draw / mesh.count * 1e9, 40.0)
        print(f"  both together {t['copies'] / 4 / t['gemm']:.2f}")


def main() -> None:
    parts: dict[str, Callable[[int], None]] = {"k1": k1, "k2": k2, "k3": k3, "mc": mc}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="k1 k2 k3 mc; all by default")
    parser.add_argument("--max", type=int, default=1024)
    arguments = parser.parse_args()
    module = extension()
    limit = os.environ.get("ONNX2MZI_KERNELS", "")
    print("kernels:", module.select(limit) if module else "numpy")
    for name in arguments.parts or parts:
        parts[name](arguments.max)


if __name__ == "__main__":
    main()
