"""Heat of whole chips: `python tests/benchmarks/bench_heat.py [--scale]`.

Nets: complex 16-16-16-10 on MNIST, dense and 80 / 90 % pruned (`heat_nets`; needs torch and
../shared/data/mnist.npz), and the digits sample 64-64-10, whole and on tiles of 16 ports. For each,
on every stack of layers: the upper-arm grid as it is, then the cool floorplan naive, with arms by
`cancel`, with its heat matrix inverted, and compensated; the latter where the model of heat is
wrong by 5, 10, 20 % (at random, altogether, both; half of the draws up, half down), where drives
are coded, and where the sink is warmer or one side of the die is. Rows go to results/heat.json,
one a net, stack and seed, tables to results/heat.md. `--scale` is time and memory of the coupling
of 4000 heaters and 100 000 pieces of guide.
"""

import argparse
import json
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
    kept,
    mnist,
    pruned_net,
)
from heat_scale import scale  # type: ignore[import-not-found]
from heat_tables import tables  # type: ignore[import-not-found]

from onnx2mzi.driver.compile import imported
from onnx2mzi.driver.options import Options
from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.emulate.compensate_chip import Caution, compensate_chip, expected_loss
from onnx2mzi.emulate.data import load_data
from onnx2mzi.emulate.heat_layout import heat_layout
from onnx2mzi.emulate.heat_lengths import passive_lengths
from onnx2mzi.emulate.heat_study import Warm, warm_chip
from onnx2mzi.emulate.heat_task import NetworkTask, Task
from onnx2mzi.emulate.heated import HeatResponse, phase_errors, uncertain
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.network import Network
from onnx2mzi.ir import Program, Stage
from onnx2mzi.passes.cancel import cancelled
from onnx2mzi.passes.floorplan import Objective
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.heat import phase_rad_per_k_um
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
BITS = (6, 8, 10, 12)
# Warmer sink, K; warmer at the upper edge of the die than at the lower one, K / mm.
DRIFTS = {"sink 10 K warmer": (10.0, 0.0), "0.1 K / mm across": (0.0, 0.1)}
# Heaters times pieces of guide: beyond it two draws, of both errors together.
MANY = 20_000_000
GRID = "tile,svd,decompose,place"
COOL = "tile,svd,decompose,canonicalize,cool{trials=1000},place{objective=heat}"
SPARSE = "compact,retime,place{objective=heat}"
# Chains of more thetas than this are cut while the net is trained; longer, for it costs accuracy.
TRAINED = {80: {"depth": 5, "steps": 8000}, 90: {"depth": 16, "steps": 4000}}
SAMPLES = Path(__file__).resolve().parents[2] / "samples"
RESULTS = Path(__file__).resolve().parent / "results"
NETS = ("dense", "p80", "p90", "digits", "tiles")


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


def digits_case(name: str, passes: str, samples: int, ports: int) -> Case:
    """The digits sample on tiles of so many ports."""
    program = imported(SAMPLES / "digits.onnx", Options(ports=ports))
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

    return Case(name, program, passes, task, accuracy)


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


def coded(drives: Any, bits: int) -> Any:
    """Drives by voltages of so many bits, the largest at full scale; heat is volts squared."""
    top = float(drives.max(initial=0.0))
    steps = 2**bits - 1
    return top * (np.round(np.sqrt(drives / max(top, 1e-300)) * steps) / steps) ** 2


def drifted(warm: Warm, kelvin: float, across_k_per_mm: float) -> Any:
    """Balanced phases by a sink that is warmer, and more so towards the upper edge of the die."""
    bars = warm.layout.guides
    middle = (bars.y_um.max() + bars.y_um.min()) / 2
    warmth = kelvin + across_k_per_mm * 1e-3 * (bars.y_um - middle)
    phase = phase_rad_per_k_um(stack=warm.model.stack) * bars.length_um * warmth
    return warm.layout.push @ (warm.layout.gather() @ phase)


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """Accuracy in per cent of a warm chip whose passive phases are drawn longer."""

    case: Case
    warm: Warm
    longer: Any

    def __call__(self, drives: Any, response: HeatResponse | None = None, more: Any = 0.0) -> float:
        response = response or self.warm.response
        off = phase_errors(layout=self.warm.layout, response=response, drive_rad=drives)
        return self.of(off + self.longer + more)

    def of(self, error_rad: Any) -> float:
        return 100 * float(self.case.accuracy(self.warm.aim.warm(error_rad)))

    def uncertain(self, drives: Any, error: float, kinds: str, draws: int, seed: int) -> Any:
        """[mean, worst] where the model of heat is wrong."""
        values = []
        for draw in range(draws):
            real = uncertain(
                layout=self.warm.layout,
                response=self.warm.response,
                random=error if kinds != "systematic" else 0.0,
                systematic=0.0 if kinds == "random" else error if draw % 2 else -error,
                rng=np.random.default_rng([seed, draw]),
            )
            values.append(self(drives, real))
        return [float(np.mean(values)), min(values)]


def grid(case: Case, stack: str) -> dict[str, Any]:
    """The upper-arm grid of the same matrices as it is; of large ones not what they compute."""
    tech = technology(stack)
    layers = tuple(replace(layer, grids=()) for layer in case.program.layers)
    whole = replace(case.program, stage=Stage.LINEAR, layers=layers)
    program, _ = made(replace(case, program=whole), GRID, tech)
    layout = heat_layout(program, tech)
    drives = layout.heaters.drive_rad
    large = len(drives) * layout.push.shape[1] > MANY
    place = program.placement
    assert place is not None
    return {
        "grid_naive": None
        if large
        else Judge(case, warm_chip(program, tech, case.task), 0.0)(drives),
        "grid_p_pi": float(drives.sum() / np.pi),
        "grid_mm2": place.width_um * place.height_um * 1e-6,
        "grid_heaters": len(drives),
    }


def bench(case: Case, stack: str, *, draws: int, steps: int, seed: int) -> dict[str, Any]:
    """A row of results."""
    tech = technology(stack)
    start = time.process_time()
    program, _ = made(case, case.passes, tech)
    placed = time.process_time()
    warm = warm_chip(program, tech, case.task)
    lengths = passive_lengths(program, warm.layout)
    found = compensate_chip(
        aim=warm.aim,
        layout=warm.layout,
        response=warm.response,
        lengths=lengths,
        caution=Caution(),
        steps=steps,
    )
    done = time.process_time()
    drawn, drives = warm.layout.heaters.drive_rad, found.drive_rad
    judge, naive = Judge(case, warm, lengths.push @ found.length_rad), Judge(case, warm, 0.0)
    large = len(drives) * warm.layout.push.shape[1] > MANY
    kinds = ("both",) if large else ("both", "random", "systematic")
    copies = 2 if large else draws
    place = program.placement
    assert place is not None
    certificate = expected_loss(
        aim=warm.aim,
        layout=warm.layout,
        response=warm.response,
        drive_rad=drives,
        error_rad=found.error_rad,
        caution=Caution(random=0.1, systematic=0.1),
    )
    return {
        "net": case.name,
        "stack": stack,
        "seed": seed,
        "ideal": naive.of(np.zeros_like(found.error_rad)),
        "naive": naive(drawn),
        "inverted": None if large else naive(inverted(warm)),
        "compensated": judge(drives),
        "uncertain": {
            kind: {f"{e:g}": judge.uncertain(drives, e, kind, copies, seed) for e in ERRORS}
            for kind in kinds
        },
        "draws": copies,
        "bits": {str(bits): judge(coded(drives, bits)) for bits in BITS},
        "drift": {name: judge(drives, more=drifted(warm, *by)) for name, by in DRIFTS.items()},
        "loss_naive": found.loss_before,
        "loss": found.loss,
        "certificate_10": certificate,
        "p_pi_drawn": float(drawn.sum() / np.pi),
        "p_pi": float(drives.sum() / np.pi),
        "mw": float((drives * warm.response.mw_per_rad).sum()),
        "mm2": place.width_um * place.height_um * 1e-6,
        "heaters": len(drives),
        "lengths": len(lengths),
        "cpu_place_s": placed - start,
        "cpu_compensate_s": done - placed,
    }


def arms(case: Case, stack: str) -> dict[str, Any]:
    """The chip as drawn where arms were chosen so that heat cancels, at the same size."""
    tech = technology(stack)
    before, _, _ = case.passes.rpartition(",")
    program, _ = made(case, before, tech)
    context = Context(technology=tech)
    start = time.process_time()
    program = cancelled(program, context, case.task, heat=0.2, width=200, rounds=4, moves=4000)
    took = time.process_time() - start
    warm = warm_chip(place_program(program, tech, Objective.HEAT), tech, case.task)
    drives = warm.layout.heaters.drive_rad
    return {
        "naive_cancelled": Judge(case, warm, 0.0)(drives),
        "p_pi_cancelled": float(drives.sum() / np.pi),
        "cpu_cancel_s": took,
    }


def cases(nets: list[str], seed: int, keep: Path | None) -> list[Case]:
    """The cases of a seed."""
    found: list[Case] = []
    images = mnist()
    if images is None:
        print(f"no MNIST in {SHARED}: the complex nets are left out")
    else:
        if "dense" in nets:
            net = kept(keep, f"dense-{seed}", lambda: dense_net(images, seed=seed))
            found.append(complex_case("dense", net, images, COOL, 400))
        for share in (80, 90):
            if f"p{share}" in nets:

                def train(share: int = share) -> Net:
                    return pruned_net(images, seed=seed, sparsity=share / 100, **TRAINED[share])

                net = kept(keep, f"pruned{share}-{seed}", train)
                found.append(complex_case(f"{share} % pruned", net, images, SPARSE, 400))
    if "digits" in nets and seed == 0:
        found.append(digits_case("digits 64-64-10", COOL, 200, 64))
    if "tiles" in nets and seed == 0:
        found.append(digits_case("digits, 16 + 4 tiles", COOL, 200, 16))
    return found


def chips(arguments: argparse.Namespace) -> None:
    """All nets, seeds and stacks; a row that is there is made anew."""
    path = RESULTS / "heat.json"
    rows = {_key(row): row for row in json.loads(path.read_text())} if path.is_file() else {}
    for seed in range(arguments.first_seed, arguments.seeds):
        for case in cases(arguments.nets.split(","), seed, arguments.keep):
            for stack in arguments.stacks.split(","):
                row = bench(case, stack, draws=arguments.draws, steps=arguments.steps, seed=seed)
                row |= grid(case, stack)
                if case.name == "dense":
                    row |= arms(case, stack)
                print(json.dumps(row), flush=True)
                # Another run may have written meanwhile.
                if path.is_file():
                    rows = {_key(old): old for old in json.loads(path.read_text())} | rows
                rows[_key(row)] = row
                write(rows)


def write(rows: dict[Any, dict[str, Any]]) -> None:
    """results/heat.json and results/heat.md."""
    ordered = [rows[key] for key in sorted(rows)]
    (RESULTS / "heat.json").write_text(json.dumps(ordered, indent=1) + "\n")
    (RESULTS / "heat.md").write_text(tables(ordered))


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["net"], row["stack"], row["seed"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--stacks", default=",".join(STACKS))
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument(
        "--keep", type=Path, help="a folder for trained nets, read if they are there"
    )
    arguments = parser.parse_args()
    if arguments.scale:
        scale()
    else:
        chips(arguments)


if __name__ == "__main__":
    main()
