"""The network of the imperfection papers, characterised; and what drawing copies costs.

    python tests/benchmarks/bench_imperfections.py [cost] [correct] [paper] [--copies N]

paper: complex 16-16-16-10 on the 4 x 4 centre of the shifted FFT of MNIST (Banerjee et al.,
J. Lightwave Technol. 41, 5 (2023), arXiv 2207.10835), on textbook meshes, every phase with a
heater, nothing calibrated. Their activation is not public: here the modulus passes softplus.
"""

# ruff: noqa: E402  (BLAS reads its number of threads when it is imported)
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.emulate.accuracy import top1
from onnx2mzi.emulate.characterize import (
    JOINT,
    Characterization,
    Questions,
    by_angle,
    characterized,
)
from onnx2mzi.emulate.correction import (
    corrected,
    optimised,
    polished,
    relative_error,
    with_redundancy,
)
from onnx2mzi.emulate.imperfect import (
    Calibration,
    How,
    ImperfectProgram,
    imperfect_program,
    mesh_tiles,
)
from onnx2mzi.emulate.imperfect_errors import Carried, Chips
from onnx2mzi.emulate.imperfect_mesh import mesh_light
from onnx2mzi.emulate.montecarlo import Bench, Effort, Score
from onnx2mzi.ir import LinearLayer, Loc, Operand, Program, Stage
from onnx2mzi.kernels import decompose
from onnx2mzi.physics.imperfection import TYPICAL, Imperfections
from onnx2mzi.physics.imperfection_random import block_keys
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.pipeline.presets import optimized
from onnx2mzi.tech import load_technology

C128 = npt.NDArray[np.complex128]
F64 = npt.NDArray[np.float64]
MNIST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist.npz"
SIZES = (16, 16, 16, 10)
EPOCHS, BATCH, RATE = 30, 500, 0.02


def features(images: npt.NDArray[Any]) -> C128:
    """The 4 x 4 centre of the shifted FFT of every image, columns (16, B)."""
    spectrum = np.fft.fftshift(np.fft.fft2(images / 255.0), axes=(1, 2))
    return np.ascontiguousarray(spectrum[:, 12:16, 12:16].reshape(-1, 16).T) / 40.0


def activated(z: C128) -> tuple[C128, F64, F64]:
    """z / |z| (softplus |z| - log 2), the factor of z, and its derivative by |z|."""
    r = np.abs(z) + 1e-9
    h = np.logaddexp(0.0, r) - np.log(2.0)
    slope = 1.0 / (1.0 + np.exp(-r))
    return z * (h / r), h / r, (slope - h / r) / r


def forward(weights: list[C128], x: C128) -> list[C128]:
    """Inputs of all layers, and the outputs of the last."""
    found = [x]
    for k, w in enumerate(weights):
        z = w @ found[-1]
        found.append(activated(z)[0] if k < len(weights) - 1 else z)
    return found


def trained(x: C128, y: npt.NDArray[Any], seed: int = 0) -> list[C128]:
    """Adam on cross-entropy of the softmax of |z|^2."""
    rng = np.random.default_rng(seed)
    weights = [
        np.asarray(rng.normal(size=(m, n)) + 1j * rng.normal(size=(m, n))) / np.sqrt(2 * n)
        for n, m in pairwise(SIZES)
    ]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros(w.shape) for w in weights]
    step, steps = 0, EPOCHS * (x.shape[1] // BATCH)
    for _ in range(EPOCHS):
        for rows in np.array_split(rng.permutation(x.shape[1]), x.shape[1] // BATCH):
            step += 1
            inputs = [x[:, rows]]
            parts: list[tuple[C128, F64, F64]] = []
            for w in weights[:-1]:
                z = w @ inputs[-1]
                a, q, slope = activated(z)
                parts.append((z, q, slope))
                inputs.append(a)
            z = weights[-1] @ inputs[-1]
            power = np.abs(z) ** 2
            p = np.exp(power - power.max(axis=0))
            p /= p.sum(axis=0)
            p[y[rows], np.arange(len(rows))] -= 1
            g: C128 = 2 * z * p / len(rows)
            for k in reversed(range(len(weights))):
                gradient = g @ inputs[k].conj().T
                if k:
                    back = weights[k].conj().T @ g
                    z, q, slope = parts[k - 1]
                    g = q * back + slope * (back.conj() * z).real * z / (np.abs(z) + 1e-9)
                first[k] = 0.9 * first[k] + 0.1 * gradient
                second[k] = 0.999 * second[k] + 0.001 * np.abs(gradient) ** 2
                rate = RATE * 0.5 * (1 + np.cos(np.pi * step / steps))
                m, v = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
                weights[k] = weights[k] - rate * m / (np.sqrt(v) + 1e-8)
    return weights


class PaperRunner:
    """Stands for the host graph: what reaches every layer."""

    def layer_inputs(
        self, matrices: dict[str, C128], layers: object, inputs: dict[str, C128]
    ) -> dict[str, C128]:
        """Inputs of every layer as columns."""
        found = forward([matrices[f"fc{k}"] for k in range(3)], inputs["x"].T)
        return {f"fc{k}": found[k] for k in range(3)}


class PaperBench(Bench):
    """The complex network, which no ONNX graph can hold, in numpy."""

    def __init__(self, chip: ImperfectProgram, x: C128, labels: npt.NDArray[Any]) -> None:
        self.chip, self.labels, self.inputs = chip, labels, {"x": x.T}
        self.runner = PaperRunner()  # type: ignore[assignment]
        self.ideal = self.outputs(chip.ideal)
        self.classifies = True
        self._answers = top1(self.ideal)

    def outputs(self, matrices: dict[str, Any]) -> dict[str, np.ndarray]:
        """Powers behind the last layer."""
        last = forward([matrices[f"fc{k}"] for k in range(3)], self.inputs["x"].T)[-1]
        return {"y": np.abs(last.T) ** 2}

    def score(self, matrices: dict[str, Any]) -> Score:
        """As the base, the answers being those of powers."""
        found = self.outputs(matrices)["y"]
        answers, ideal = found.argmax(axis=1), self.ideal["y"]
        return Score(
            float(np.mean(answers == self.labels)),
            float(np.mean(answers != ideal.argmax(axis=1))),
            float(np.linalg.norm(found - ideal) / np.linalg.norm(ideal)),
        )


def program_of(weights: list[C128], optimize: int = 0) -> ImperfectProgram:
    """The network on meshes: 0 is the textbook."""
    layers = tuple(
        LinearLayer(f"fc{k}", w, Operand(f"h{k}", -1, f"w{k}", False, "float32"), Loc())
        for k, w in enumerate(weights)
    )
    program = Program("paper", Stage.LINEAR, 64, layers)
    technology = load_technology("cornerstone_si220")
    context = Context(technology=technology, passive=Passive.COMMON)
    done = Pipeline(optimized(optimize, PASSES)).run(program, context)
    return imperfect_program(done.program, technology)


def paper(mnist: Path, copies: int, workers: int) -> None:
    """Characterise, and hold the numbers against the abstract's."""
    with np.load(mnist) as data:
        x, y = features(data["x_train"]), data["y_train"].astype(int)
        x_test, y_test = features(data["x_test"][:1000]), data["y_test"][:1000].astype(int)
    start = time.perf_counter()
    weights = trained(x, y)
    print(f"trained in {time.perf_counter() - start:.0f} s")
    bench = PaperBench(program_of(weights), x_test, y_test)
    phases = sum(
        int(np.count_nonzero(part.active))
        for _, tile in mesh_tiles(bench.chip)
        for part in (tile.u.theta, tile.u.phi, tile.v.theta, tile.v.phi, tile.sigma.theta)
    )
    print(f"{bench.chip.mzis} MZIs, {phases} phases, accuracy {bench.ideal_score.accuracy:.2%}")
    sizes = replace(TYPICAL, fabrication_scale=0.0)
    questions = Questions(
        sizes=sizes,
        effort=Effort(copies=copies, workers=workers),
        calibration=Calibration.NONE,
    )
    start = time.perf_counter()
    found = characterized(bench, questions)
    seconds = time.perf_counter() - start
    drawn = sum(len(point.samples) for point in found.points)
    drawn += sum(len(samples) for _, samples in found.regions)
    print(f"{drawn} copies in {seconds:.0f} s, {1e3 * seconds / drawn:.2f} ms each\n")
    told(found)


def told(found: Characterization) -> None:
    """Tables on the terminal."""
    print("imperfection          size   accuracy           points lost")
    for point in found.points:
        name = "together: " + point.kind if point.kind in JOINT else point.kind
        interval = point.samples.half_width if len(point.samples) > 1 else 0.0
        lost = 100 * (found.ideal_value - point.samples.mean)
        mean = f"{point.samples.mean:7.2%} ± {interval:.2%}"
        print(f"{name:20} {point.size:6g}   {mean}   {lost:6.2f}")
    print("\nimperfect alone, settings at twice the size")
    for region, samples in found.regions:
        lost = 100 * (found.ideal_value - samples.mean)
        name = f"{region.layer} {region.block or 'all'}"
        print(f"{name:10} {samples.mean:7.2%} ± {samples.half_width:.2%}   {lost:6.2f}")
    print("\nfirst order: expected, drawn, network per layer")
    for check in found.checks:
        print(f"{check.layer}: {check.expected:.3e} {check.measured:.3e} {check.weight:.2f}")
    print("\nmean squared error by |theta| up to (rad)")
    for upper, mean_error, count in by_angle(found):
        print(f"{upper:.2f}: {mean_error:.2e} of {count} MZIs")
    for block in found.blocks:
        if block.block == "s":
            continue
        error = found.map_of(block) ** 2
        columns = [
            float(part.mean())
            for part in np.array_split(error[np.argsort(block.column, kind="stable")], 4)
        ]
        told_columns = " ".join(f"{value:.2e}" for value in columns)
        print(f"{block.tile} {block.block}: quarters along the light {told_columns}")


def cost() -> None:
    """What a copy costs: nanoseconds an MZI to draw it, and its light by a dense product's time."""
    print("CPU time, one thread, textbook mesh of 64 ports, 32 copies at once; draw: its cells")
    print(
        "where light needs them, ns per MZI and copy; light: 256 vectors through it, drawing left"
    )
    print("out, / zgemm of that size; matrix: both meshes, attenuators, calibration, ns as above")
    ports, copies, batch = 64, 32, 256
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(ports, ports, 2)) @ np.array([1.0, 1j])
    x = rng.normal(size=(copies, ports, batch, 2)) @ np.array([1.0, 1j])
    chip = program_of([weight])
    mesh = mesh_tiles(chip)[0][1].u
    entering = Carried(np.zeros((1, ports)), np.ones(ports))
    print(f"{'':28}   draw  light  matrix")
    for name, sizes in {
        "nothing drawn": Imperfections(thermal=0.005),
        "phases": TYPICAL.only("phase_rad"),
        "couplers": TYPICAL.only("split_rad"),
        "loss": TYPICAL.only("loss_scale", "loss_sigma_db"),
        "static, trimmed": TYPICAL.only("fabrication_scale"),
        "all": TYPICAL,
        "all, and gradients": replace(TYPICAL, gradient_rad_mm2=0.1, split_gradient_rad_mm=0.002),
    }.items():
        drawn = Chips(
            sizes,
            block_keys(seed=0, copies=range(copies), block="u"),
            block_keys(seed=0, copies=range(copies), block=""),
            chip.technology.guide.coherence_mm,
            chip.technology.crossing.crosstalk_db,
            True,
        )
        cells, light, whole, dense = _least(
            partial(mesh_light, mesh, drawn, entering, x[:, :, :0]),
            partial(mesh_light, mesh, drawn, entering, x),
            partial(chip.matrices, How(sizes), range(copies)),
            lambda: [weight @ here for here in x],
        )
        draw = 1e9 * cells / copies / mesh.core.count
        matrix = 1e9 * whole / copies / chip.mzis
        print(f"{name:28} {draw:6.1f} {(light - cells) / dense:6.2f} {matrix:7.1f}", flush=True)


def _least(*calls: Callable[[], object], times: int = 60) -> list[float]:
    """The least seconds of each of some calls, made in turns."""
    best = [np.inf] * len(calls)
    for _ in range(times):
        for k, call in enumerate(calls):
            start = time.thread_time()
            call()
            best[k] = min(best[k], time.thread_time() - start)
    return best


def correct(seeds: int = 2) -> None:
    """Known couplers made up for on Haar matrices, against the best published code."""
    print("relative Frobenius error; crossings: MZIs out of range are waveguide crossings")
    print(
        "ports sigma  as set  local  polished  optimised  crossings  2 columns more  published  s"
    )
    for ports, sigma, before, after in (
        (16, 0.05, 0.26, 0.023),
        (64, 0.02, 0.22, 0.017),
        (64, 0.05, 0.53, 0.097),
        (64, 0.1, 0.97, 0.32),
    ):
        rows = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            q, r = np.linalg.qr(rng.normal(size=(ports, ports, 2)) @ np.array([1.0, 1j]))
            mesh = decompose(q * (np.diag(r) / np.abs(np.diag(r))))
            wide = with_redundancy(mesh, 1)
            off = sigma * rng.normal(size=(2, wide.count))
            first, second = off[:, : mesh.count]
            there = corrected(mesh, first=first, second=second)
            start = time.process_time()
            best = optimised(there.mesh, mesh, first=first, second=second)
            seconds = time.process_time() - start
            polish = polished(there.mesh, mesh, first=first, second=second, sweeps=8)
            bare = ~there.reachable
            real = np.where(bare, 0.0, off[:, : mesh.count])
            crossed = optimised(mesh, mesh, first=first, second=second, crossings=bare)
            local = corrected(wide, first=off[0], second=off[1]).mesh
            more = optimised(local, mesh, first=off[0], second=off[1])
            errors = [
                relative_error(item, mesh, first=first, second=second)
                for item in (mesh, there.mesh, polish, best)
            ]
            errors.append(relative_error(crossed, mesh, first=real[0], second=real[1]))
            errors.append(relative_error(more, mesh, first=off[0], second=off[1]))
            rows.append([*errors, seconds])
        *means, seconds = np.mean(rows, axis=0).tolist()
        told = "  ".join(f"{value:.4f}" for value in means)
        print(f"{ports:5} {sigma:5}  {told}   {before} -> {after}   {seconds:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["cost", "correct", "paper"])
    parser.add_argument("--copies", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--mnist", type=Path, default=MNIST)
    arguments = parser.parse_args()
    if "cost" in arguments.what:
        cost()
    if "correct" in arguments.what:
        correct()
    if "paper" in arguments.what:
        if arguments.mnist.is_file():
            paper(arguments.mnist, arguments.copies, arguments.workers)
        else:
            print(f"paper: there is no {arguments.mnist}")


if __name__ == "__main__":
    main()
