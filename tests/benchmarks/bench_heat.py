"""Heat of whole chips: `python tests/benchmarks/bench_heat.py [--scale]`.

Nets: complex 16-16-16-10 on MNIST, dense and 80 / 90 % pruned (`heat_nets`; needs torch and
../shared/data/mnist.npz), and the digits sample 64-64-10. For each, on every stack of layers: the
upper-arm grid as it is, then the cool floorplan naive, with its heat matrix inverted, and
compensated; the latter where the model of heat is wrong by 5, 10, 20 % (at random and
altogether, half of the draws up, half down). `--scale` is time and memory of the coupling of 4000
heaters and 100 000 pieces of guide.
"""

import argparse
import resource
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from heat_nets import (  # type: ignore[import-not-found]  # a neighbour, no package
    SHARED,
    Images,
    Net,
    dense_net,
    mnist,
    pruned_net,
)

from onnx2mzi.driver.compile import imported
from onnx2mzi.driver.options import Options
from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.emulate.compensate_chip import Caution, compensate_chip
from onnx2mzi.emulate.data import load_data
from onnx2mzi.emulate.heat_study import Warm, warm_chip
from onnx2mzi.emulate.heat_task import NetworkTask, Task
from onnx2mzi.emulate.heated import phase_errors, uncertain
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.ir import Program
from onnx2mzi.physics.heat_bars import Bars
from onnx2mzi.physics.heat_coupling import coupling_matrix
from onnx2mzi.physics.heat_model import heat_model
from onnx2mzi.physics.heat_operator import coupling_operator
from onnx2mzi.physics.stack import Die, ThermalStack, Trench, Undercut
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.manager import Pipeline
from onnx2mzi.tech import PadStyle, Technology, load_technology

STACKS: dict[str, dict[str, float]] = {
    "bulk": {},
    "undercut": {"undercut_half_width_um": 10.0, "undercut_depth_um": 20.0},
    "trench + undercut": {
        "undercut_half_width_um": 10.0,
        "undercut_depth_um": 20.0,
        "trench_inner_um": 5.0,
        "trench_outer_um": 10.0,
        "trench_depth_um": 3.0,
    },
}
ERRORS = (0.05, 0.1, 0.2)
GRID = "tile,svd,decompose,place"
COOL = "tile,svd,decompose,canonicalize,cool{trials=1000},place{objective=heat}"
SPARSE = "compact,place{objective=heat}"
SAMPLES = Path(__file__).resolve().parents[2] / "samples"


def technology(stack: str) -> Technology:
    """Heaters of 100 um on rows 50 um apart, bumps above them, dies as long as a line of tiles."""
    base = load_technology("generic_two_metal")
    heater = replace(
        base.heater,
        length_um=100.0,
        contact_length_um=5.0,
        contact_width_um=5.0,
        min_pitch_um=50.0,
        p_pi_mw=17.6,
    )
    return replace(
        base,
        heater=heater,
        pads=replace(base.pads, style=PadStyle.BUMP),
        die=replace(base.die, sizes_um=((100_000.0, 8_000.0),)),
        thermal=replace(base.thermal, **STACKS[stack]),
    )


@dataclass(frozen=True, slots=True, eq=False)
class NetTask:
    """A net of `heat_nets` on some images, as compensation sees it."""

    net: Net
    x: Any

    def scores(self, matrices: Any) -> Any:
        return self.net.scores(matrices, self.x)

    def layer_inputs(self, matrices: Any) -> Any:
        return self.net.layer_inputs(matrices, self.x)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A net, how its chip is made, and how good it is."""

    name: str
    program: Program
    passes: str
    task: Task
    accuracy: Any


def complex_case(name: str, net: Net, images: Images, passes: str, samples: int) -> Case:
    """A net of `heat_nets`."""
    return Case(
        name,
        net.program,
        passes,
        NetTask(net, images.x_train[:samples]),
        lambda matrices: net.accuracy(matrices, images.x_test, images.y_test),
    )


def digits_case(passes: str, samples: int) -> Case:
    """The digits sample."""
    program = imported(SAMPLES / "digits.onnx", Options())
    assert program.host is not None
    runner = HostRunner(program.host)
    fit, held = (
        load_data(SAMPLES / f"digits_{name}.npz", program.host) for name in ("train", "test")
    )
    network = Network(runner, program.layers, fit, held)
    task = NetworkTask(network, fit.take(slice(0, samples)))

    def accuracy(matrices: Any) -> float:
        from onnx2mzi.emulate.accuracy import accuracy as share

        assert held.labels is not None
        return share(network.outputs(matrices, held), held.labels)

    return Case("digits 64-64-10", program, passes, task, accuracy)


def made(case: Case, passes: str, tech: Technology) -> tuple[Program, float]:
    """The placed program, and the CPU seconds it took."""
    start = time.process_time()
    result = Pipeline.parse(passes, PASSES).run(case.program, Context(technology=tech))
    return result.program, time.process_time() - start


def inverted(warm: Warm) -> Any:
    """Drives that bring the heaters' own phases right, the baseline of others."""
    heaters = warm.layout.heaters
    own = heaters.phase >= 0
    rows = warm.layout.push[heaters.phase[own]]
    k, asked = rows @ warm.response.segment[:, own], rows @ warm.layout.asked_rad()
    drives = heaters.drive_rad.copy()
    drives[own] = np.linalg.lstsq(np.asarray(k), np.asarray(asked), rcond=None)[0]
    return np.maximum(drives, 0.0)


def bench(case: Case, stack: str, *, draws: int, steps: int, seed: int, grid: bool) -> None:
    """One line, or two with that of the upper-arm grid."""
    tech = technology(stack)

    def accuracy(warm: Warm, drives: Any, response: Any = None) -> float:
        off = phase_errors(layout=warm.layout, response=response or warm.response, drive_rad=drives)
        return 100 * float(case.accuracy(warm.aim.warm(off)))

    label = f"{case.name:18s} {stack:18s} seed {seed}"
    if grid:
        program, _ = made(case, GRID, tech)
        warm = warm_chip(program, tech, case.task)
        drives = warm.layout.heaters.drive_rad
        place = program.placement
        assert place is not None
        print(
            f"{label}  upper-arm grid: heat {drives.sum() / np.pi:6.0f} P_pi, area "
            f"{place.width_um * place.height_um * 1e-6:5.1f} mm2, {len(drives)} heaters, naive "
            f"{accuracy(warm, drives):5.2f}",
            flush=True,
        )
    start = time.process_time()
    program, _ = made(case, case.passes, tech)
    warm = warm_chip(program, tech, case.task)
    drives = warm.layout.heaters.drive_rad
    found = compensate_chip(
        aim=warm.aim,
        layout=warm.layout,
        response=warm.response,
        caution=Caution(),
        steps=steps,
    )
    seconds = time.process_time() - start
    place = program.placement
    assert place is not None
    cold = 100 * float(case.accuracy(warm.aim.matrices))
    text = []
    for error in ERRORS:
        values = []
        for draw in range(draws):
            real = uncertain(
                layout=warm.layout,
                response=warm.response,
                random=error,
                systematic=error if draw % 2 else -error,
                rng=np.random.default_rng([seed, draw]),
            )
            values.append(accuracy(warm, found.drive_rad, real))
        text.append(f"{error:.0%} {np.mean(values):5.2f} (worst {min(values):5.2f})")
    power = float((found.drive_rad * warm.response.mw_per_rad).sum())
    print(
        f"{label}  ideal {cold:5.2f} naive {accuracy(warm, drives):5.2f} inverted "
        f"{accuracy(warm, inverted(warm)):5.2f} compensated "
        f"{accuracy(warm, found.drive_rad):5.2f}; K off by {', '.join(text)}; heat "
        f"{drives.sum() / np.pi:.0f} -> {found.drive_rad.sum() / np.pi:.0f} P_pi, "
        f"{power / 1000:.2f} W, {place.width_um * place.height_um * 1e-6:.1f} mm2, "
        f"{len(drives)} heaters, CPU {seconds:.0f} s",
        flush=True,
    )


def chips(arguments: argparse.Namespace) -> None:
    """All nets, seeds and stacks."""
    nets = arguments.nets.split(",")
    stacks = arguments.stacks.split(",")
    images = mnist()
    for seed in range(arguments.seeds):
        cases: list[tuple[Case, bool]] = []
        if images is None:
            print(f"no MNIST in {SHARED}: the complex nets are left out")
        else:
            if "dense" in nets:
                net = dense_net(images, seed=seed)
                cases.append((complex_case("dense", net, images, COOL, 400), True))
            for share in (80, 90):
                if f"p{share}" in nets:
                    net = pruned_net(images, seed=seed, sparsity=share / 100)
                    case = complex_case(f"{share} % pruned", net, images, SPARSE, 400)
                    cases.append((case, False))
        if "digits" in nets and seed == 0:
            cases.append((digits_case(COOL, 200), True))
        for case, grid in cases:
            for stack in stacks:
                bench(
                    case,
                    stack,
                    draws=arguments.draws,
                    steps=arguments.steps,
                    seed=seed,
                    grid=grid,
                )


# ---- scale ----------------------------------------------------------------------------------

ROWS = 64


def chip(segments: int, heaters: int) -> tuple[Bars, Bars, Die]:
    """Rows of touching segments, and a heater on some of them."""
    per_row = segments // ROWS
    x = np.tile(120.0 * np.arange(per_row), ROWS)
    y = np.repeat(50.0 * np.arange(ROWS), per_row)
    chosen = np.sort(np.random.default_rng(0).permutation(len(x))[:heaters])
    die = Die(-500.0, float(x.max()) + 620.0, -500.0, float(y.max()) + 500.0)
    return Bars(x[chosen] + 10, x[chosen] + 110, y[chosen]), Bars(x, x + 120, y), die


def scale() -> None:
    """Build and apply the operator; its error against the exact matrix on some segments."""
    heaters, segments, die = chip(100_032, 4000)
    power = np.random.default_rng(1).uniform(0, 17, len(heaters))
    sample = np.random.default_rng(2).permutation(len(segments))[:200]
    undercut = Undercut(10, 20)
    for name, stack in (
        ("bulk", ThermalStack()),
        ("undercut", ThermalStack(undercut=undercut)),
        ("trench + undercut", ThermalStack(trench=Trench(5, 10, 3), undercut=undercut)),
    ):
        for edges in (None, die):
            start = time.perf_counter()
            model = heat_model(stack=stack)
            operator = coupling_operator(model=model, heaters=heaters, segments=segments, die=edges)
            built = time.perf_counter() - start
            start = time.perf_counter()
            warm = operator.warmth(power)
            applied = time.perf_counter() - start
            start = time.perf_counter()
            operator.adjoint(warm)
            adjoint = time.perf_counter() - start
            exact = (
                coupling_matrix(
                    model=model, heaters=heaters, segments=segments.take(sample), die=edges
                )
                @ power
            )
            error = np.abs(warm[sample] / exact - 1).max()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(
                f"{name:18s} {'die' if edges else 'free':5s} build {built:5.1f} s, K p "
                f"{applied:5.2f} s, K^T w {adjoint:5.2f} s, error {error:.1e}, peak {peak:.2f} GB"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--nets", default="dense,p80,p90,digits")
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    if arguments.scale:
        scale()
    else:
        chips(arguments)


if __name__ == "__main__":
    main()
