"""A training step on phases against one of the same dense layer in torch, one thread.

    python tests/benchmarks/bench_train.py

Forward and backward of y = W x, W (m, n), for a batch of vectors: W a parameter, against W a
function of the phases of its two meshes (`onnx2mzi.train.network`), or x through the mesh itself
(`mesh_fields`). Figures are the least CPU seconds of interleaved rounds.
"""

# ruff: noqa: E402  (BLAS reads its number of threads when it is imported)
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from onnx2mzi.kernels import clements_layout
from onnx2mzi.train.layout import Layout
from onnx2mzi.train.mesh_function import mesh_fields
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.tiles import near_zero

Job = Callable[[], object]


def race(jobs: dict[str, Job], rounds: int = 15) -> dict[str, float]:
    """Least CPU seconds of each job over interleaved rounds."""
    best = dict.fromkeys(jobs, np.inf)
    for job in jobs.values():
        job()
    for _ in range(rounds):
        for name, job in jobs.items():
            start = time.thread_time()
            job()
            best[name] = min(best[name], time.thread_time() - start)
    return best


def dense(m: int, n: int, batch: int, kind: Any) -> Job:
    w = torch.randn(m, n, dtype=kind, requires_grad=True)
    x = torch.randn(batch, n, dtype=kind, requires_grad=True)
    return lambda: (x @ w.T).abs().sum().backward()  # type: ignore[no-untyped-call,unused-ignore]


def phased(m: int, n: int, batch: int, kind: Any) -> Job:
    real = not kind.is_complex
    rng = np.random.default_rng(0)
    layer = near_zero("a", (m, n), norm=1.0, real=real, spread_rad=0.3, rng=rng)

    def electronics(matrices: Any, inputs: Any, constants: Any = None) -> Any:
        return {"y": inputs["x"] @ matrices["a"].to(kind).T}

    network = PhaseNetwork([layer], electronics)
    x = torch.randn(batch, n, dtype=kind, requires_grad=True)
    return lambda: network({"x": x})["y"].abs().sum().backward()


def through(n: int, batch: int) -> tuple[Job, Job]:
    """Vectors through one complex mesh, and through a dense unitary."""
    layout = Layout(n, *clements_layout(n))
    theta, phi = (torch.rand(layout.count, dtype=torch.float64) for _ in range(2))
    theta.requires_grad_()
    phi.requires_grad_()
    x = torch.randn(n, batch, dtype=torch.complex128, requires_grad=True)
    w = torch.randn(n, n, dtype=torch.complex128, requires_grad=True)

    def mesh() -> None:
        y: Any = mesh_fields(layout, theta, phi, None, x).abs().sum()
        y.backward()

    def plain() -> None:
        y: Any = (w @ x).abs().sum()
        y.backward()

    return mesh, plain


def main() -> None:
    torch.set_num_threads(1)
    print("vectors through a complex mesh, double precision, against a dense complex matrix")
    for n, batch in ((16, 256), (64, 256), (256, 256), (64, 4096)):
        mesh, plain = through(n, batch)
        best = race({"mesh": mesh, "dense": plain})
        ratio = best["mesh"] / best["dense"]
        target = 1.1 if batch >= 64 * n else 1.8
        verdict = "hit" if ratio <= target else "MISS"
        print(f"  N {n:4d} batch {batch:5d}: {ratio:5.2f} x dense   target {target}  {verdict}")
    print("layers as functions of phases, against dense layers of single precision")
    for m, n, batch, kind in (
        (64, 64, 500, torch.float32),
        (64, 64, 500, torch.complex64),
        (64, 784, 500, torch.float32),
        (256, 256, 4096, torch.float32),
    ):
        best = race({"phases": phased(m, n, batch, kind), "dense": dense(m, n, batch, kind)})
        print(
            f"  {m} x {n}, {str(kind).removeprefix('torch.')}, batch {batch}: "
            f"{1e3 * best['phases']:.2f} ms, {best['phases'] / best['dense']:.1f} x dense"
        )


if __name__ == "__main__":
    main()
