"""One protocol for all methods of pruning: accuracy against heaters and power.

    python tests/benchmarks/bench_pruning.py [c16 c64 r64 r784] [--methods soft-l1,surgeon]
        [--levels 95,98,99] [--seeds 0,1,2] [--data mnist.npz] [--chosen] [--out results.json]
    python tests/benchmarks/bench_pruning.py --table results.json

The networks are those of `pruning_nets`, trained here, written as ONNX, read back by the compiler
and pruned by its own methods, untiled. Levels are shares of the reference's phases that have no
heater. Hyperparameters were chosen with `--chosen`: trained on all training images but the last
10 000, measured on those. Without it training takes all training images and the test images are
read once, at the end of every level; nothing depends on what they say. `--post` runs the methods
without training on 1000 unlabelled training images instead, `digits` is small and needs no data.
"""

import argparse
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import onnx2mzi
from onnx2mzi.ir import Program
from onnx2mzi.passes.drawing import DrawingRules
from onnx2mzi.passes.prune.cost import cuts
from onnx2mzi.passes.prune.starts import program_starts, with_phases
from onnx2mzi.physics.shifter import Drive, Passive
from onnx2mzi.pipeline.census import Census, layer_census, layer_drivers, reference_phases
from onnx2mzi.tech import Detection
from onnx2mzi.train.ports import with_ports
from onnx2mzi.train.tiles import GridStart, LayerStart, near_zero_tile

sys.path.insert(0, str(Path(__file__).resolve().parent))
import pruning_nets as nets  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[2]
MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"
LOWERING = "tile,svd,decompose,canonicalize"
LEVELS = (50.0, 80.0, 90.0, 95.0, 98.0, 99.0, 99.5)
# Methods that go on from the phases of the decomposition, not from nearly none.
FROM_PROGRAM = frozenset({"imp", "han", "slimming", "filter"})
WITHOUT_DENSE = frozenset({"grow"})
# Training images on which the best of several starts is chosen.
HELD_BACK = 5000
P_PI_MW = 1.0
SPREAD_RAD = 0.2
RULES = {
    "active": DrawingRules(Drive.ARM_CHOICE, Passive.COMMON, Detection.IQ),
    "none": DrawingRules(Drive.ARM_CHOICE, Passive.NONE, Detection.IQ),
    "push-pull": DrawingRules(Drive.PUSH_PULL, Passive.NONE, Detection.IQ),
}
Row = dict[str, Any]


def censuses(program: Program, starts: Any) -> dict[str, Census]:
    """What is on the chip under each of `RULES`."""
    found = {}
    for name, rules in RULES.items():
        layers = with_phases(program, starts, rules).layers
        found[name] = sum((layer_census(layer, P_PI_MW) for layer in layers), Census())
    return found


def drivers(program: Program, starts: Any) -> int:
    """Drivers of the heaters there are: those of one phase share one."""
    return sum(map(layer_drivers, with_phases(program, starts, RULES["active"]).layers))


def reference(program: Program) -> int:
    """Phases of the textbook chip."""
    return sum(
        reference_phases((int(m), int(n)), program.ports)
        for m, n in (layer.weight.shape for layer in program.layers)
    )


def textbook_rad(model: Path, ports: int) -> float:
    """Sum of the phases modulo 2 pi of the textbook chip: what it heats."""
    program = onnx2mzi.compile(
        model, onnx2mzi.Pipeline.parse("tile,svd,decompose"), ports=ports
    ).program
    return sum(layer_census(layer, P_PI_MW).heat_rad for layer in program.layers)


def zero_starts(net: nets.Net, program: Program, dense: nets.Dense, x: Any, seed: int) -> list[Any]:
    """Layers of nearly heater-free meshes; the inputs that vary most lie where light passes."""
    import torch

    rng, found = np.random.default_rng(seed), []
    for k, layer in enumerate(program.layers):
        cut = replace(net, sizes=net.sizes[: k + 1])
        weights = [torch.from_numpy(w) for w in dense.weights[:k]]
        biases = [torch.from_numpy(b) for b in dense.biases[:k]]
        entering = torch.from_numpy(x[:5000])
        if k:
            entering = nets.hidden(cut, weights, biases, entering)
        spread = entering.abs().std(0) if entering.is_complex() else entering.std(0)
        varies: np.ndarray = np.asarray(spread)
        m, n = layer.weight.shape
        tiles = []
        for top in cuts(m, program.ports):
            for left in cuts(n, program.ports):
                guides = np.arange(left.start, left.stop, dtype=np.int32)
                widest = max(top.stop - top.start, len(guides))
                tile = near_zero_tile(
                    (top.stop - top.start, len(guides)),
                    norm=float(np.linalg.norm(layer.weight[top, left])),
                    real=not net.is_complex,
                    spread_rad=SPREAD_RAD * float(np.sqrt(min(1.0, 64 / widest))),
                    rng=rng,
                    inputs=guides[np.argsort(varies[left], kind="stable")],
                    outputs=np.arange(top.start, top.stop, dtype=np.int32),
                )
                tiles.append(tile)
        grid = GridStart(m, n, tuple(tiles))
        found.append(LayerStart(layer.name, (grid,), not net.is_complex))
    return found


def trainer(
    net: nets.Net,
    program: Program,
    starts: Any,
    x: Any,
    y: Any,
    seed: int,
    distil: float,
    lr: float,
) -> Any:
    """A trainer of the program's network, with the dense network's answers for a teacher."""
    import torch

    from onnx2mzi.train.graph import HostGraph
    from onnx2mzi.train.loop import Settings, Trainer
    from onnx2mzi.train.network import PhaseNetwork
    from onnx2mzi.train.samples import Aim, Samples

    assert program.host is not None
    graph = HostGraph(program.host, program.layers)
    network = PhaseNetwork.on_host(starts, graph, train_biases=True)
    inputs = {"x": torch.from_numpy(nets.entering(net, x))}
    weights = {layer.name: torch.from_numpy(np.array(layer.weight)) for layer in program.layers}
    with torch.no_grad():
        teacher = torch.cat(
            [
                graph(weights, {"x": inputs["x"][at : at + 5000]}, graph.constants)["scores"]
                for at in range(0, len(x), 5000)
            ]
        )
    aim = Aim("scores", True, False, distil=distil)
    fit = Samples(inputs, torch.from_numpy(y), teacher)
    batch = min(500, len(x) // 20)
    settings = Settings(lr=lr, lr_electronic=lr, seed=seed, batch=batch)
    return Trainer(network, aim, fit, fit.take(slice(0, 1000)), settings)


def measured(net: nets.Net, course: Any, program: Program, x: Any, y: Any) -> Row:
    """Accuracy on these images, heaters in all counts, heat."""
    import torch

    from onnx2mzi.train.samples import Samples

    network = course.network
    images = Samples({"x": torch.from_numpy(nets.entering(net, x))}, torch.from_numpy(y))
    alive, kinds = network.alive, network.kinds()
    found = censuses(program, network.starts())
    return {
        "accuracy": course.measure(images).accuracy,
        "trained": network.phases_active,
        "uv": int((alive & (kinds != 2)).sum()),
        "drivers": drivers(program, network.starts()),
        **{name: census.phases_active for name, census in found.items()},
        **{f"{name}_rad": round(census.heat_rad, 2) for name, census in found.items()},
    }


def prepared(
    name: str, seed: int, given: argparse.Namespace
) -> tuple[nets.Net, nets.Data, nets.Dense, Path]:
    """The dense network of a seed, trained once and kept in `--keep`."""
    net = nets.NETS[name]
    folder = Path(given.keep)
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f"{name}_{given.data.stem}_features.npz"
    data = nets.digits() if name == "digits" else nets.load(net, given.data, made)
    stem = f"{name}_{given.data.stem}_{seed}{'_chosen' if given.chosen else ''}"
    x, y = (data.x_train, data.y_train) if given.chosen else nets.everything(data)
    path = folder / f"{stem}.npz"
    if not path.exists():
        nets.keep(nets.trained(net, x, y, seed), path)
    dense = nets.kept(path)
    return net, data, dense, nets.written(net, dense, folder / f"{stem}.onnx")


def walk(name: str, seed: int, method_name: str, given: argparse.Namespace) -> list[Row]:
    """One method from dense to the sparsest level, a row a level."""
    from onnx2mzi.train.methods.base import Task, method
    from onnx2mzi.train.sharing import Share, share_meshes

    net, data, dense, model = prepared(name, seed, given)
    x, y = (data.x_train, data.y_train) if given.chosen else nets.everything(data)
    seen = (data.x_valid, data.y_valid) if given.chosen else (data.x_test, data.y_test)
    ports = given.ports or max(net.sizes)
    program = onnx2mzi.compile(model, onnx2mzi.Pipeline.parse(LOWERING), ports=ports).program
    whole = reference(program)
    if given.port_factors:
        program = with_ports(program)
    base: Row = {
        "net": name,
        "data": given.data.stem if name != "digits" else "digits",
        "seed": seed,
        "read": "chosen" if given.chosen else "test",
        "reference": whole,
        "dense": nets.accuracy(net, dense.weights, dense.biases, *seen),
    }
    labels = {
        f"{given.ports} ports": given.ports,
        "port factors": given.port_factors,
        f"shared {given.share}": given.share != "none",
        "rail": given.rail,
    }
    label = ", ".join([method_name, *(text for text, holds in labels.items() if holds)])
    if method_name == "exact":
        found = censuses(program, program_starts(program))
        counts = {k: v.phases_active for k, v in found.items()}
        heat = {f"{k}_rad": round(v.heat_rad, 2) for k, v in found.items()}
        return [
            {**base, "method": label, "reference_rad": round(textbook_rad(model, ports), 1)}
            | {"accuracy": base["dense"], **counts, **heat}
        ]
    from_program = method_name in FROM_PROGRAM or given.start == "program"
    keep = [int(whole * (1 - level / 100) + 1e-6) for level in given.levels]
    task = Task(epochs=given.epochs, rail=given.rail)
    apart = min(HELD_BACK, len(x) // 10) if given.starts > 1 else 0
    cut = len(x) - apart
    held = nets.entering(net, x[cut:]), y[cut:]
    rows, began = [], time.process_time()
    best: tuple[float, Any, Any] | None = None
    for start in range(given.starts):
        starts = (
            program_starts(program)
            if from_program
            else zero_starts(net, program, dense, x, seed + 1000 * start)
        )
        course = trainer(net, program, starts, x[:cut], y[:cut], seed, given.distil, given.lr)
        if given.share != "none":
            share_meshes(course.network, Share(given.share))
        if not from_program and method_name not in WITHOUT_DENSE:
            course.fit(given.dense_epochs, lr=given.dense_lr or given.lr, what="dense")
        tool = method(method_name)
        tool.shrink(course, task, keep[0])
        right = judged(course, *held) if apart else 0.0
        if apart:
            print(f"{name} seed {seed} start {start}: {right:.2%} of those held back", flush=True)
        if best is None or right > best[0]:
            best = right, course, tool
    assert best is not None
    _, course, tool = best
    for level, most in zip(given.levels, keep, strict=True):
        if most != keep[0]:
            tool.shrink(course, task, most)
        rows.append(
            {**base, "method": label, "level": level, "epochs": given.epochs, "lr": given.lr}
            | ({"starts": given.starts} if apart else {})
            | measured(net, course, program, *seen)
            | {"cpu_s": round(time.process_time() - began, 1)}
        )
        print(shown(rows[-1]), flush=True)
    return rows


def judged(course: Any, inputs: Any, labels: Any) -> float:
    """Share of right answers on these."""
    import torch

    from onnx2mzi.train.samples import Samples

    on = Samples({"x": torch.from_numpy(inputs)}, torch.from_numpy(labels))
    return float(course.measure(on).accuracy)


def post(name: str, seed: int, given: argparse.Namespace) -> list[Row]:
    """Without training: 1000 unlabelled training images, half a point that may be lost, or the
    share that shall go at each number of ports."""
    net, data, _, model = prepared(name, seed, given)
    x, _ = nets.everything(data)
    chosen = np.random.default_rng(seed).choice(len(x), 1000, replace=False)
    rows = []
    for target in given.targets.split(","):
        ports, _, share = target.partition(":")
        began, cpu = time.perf_counter(), time.process_time()
        goal = f"target={share}" if share else "max_drop=0.005"
        text = f"{LOWERING},prune{{method={given.post} {goal}}}"
        chip = onnx2mzi.compile(
            model,
            onnx2mzi.Pipeline.parse(text),
            ports=int(ports),
            data={"x": nets.entering(net, x[chosen])},
            test={"x": nets.entering(net, data.x_test), "y": data.y_test},
        )
        found = chip.report
        rows.append(
            {
                "net": name,
                "data": given.data.stem,
                "seed": seed,
                "read": "test",
                "method": f"post:{given.post}",
                "goal": goal,
                "ports": int(ports),
                "reference": found["phases_reference"],
                "active": found["phases_active"],
                "dense": found["accuracy_reference"],
                "accuracy": found["accuracy"],
                "wall_s": round(time.perf_counter() - began, 1),
                "cpu_s": round(time.process_time() - cpu, 1),
            }
        )
        print(shown(rows[-1]), flush=True)
    return rows


def shown(row: Row) -> str:
    """A row on one line."""
    lost = 100 * (row["dense"] - row["accuracy"])
    return (
        f"{row['net']:6} seed {row['seed']} {row['method']:10} "
        f"{1 - row['active'] / row['reference']:7.2%} gone, {row['accuracy']:.2%} right, "
        f"{lost:5.2f} points lost, {row['active']} heaters, "
        f"{row.get('cpu_s', 0)} s"
    )


def main() -> int:
    """Run what is asked, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=["r64"])
    parser.add_argument("--methods", default="exact,soft-l1,surgeon")
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--data", type=Path, default=MNIST)
    parser.add_argument("--keep", default=str(Path(tempfile.gettempdir()) / "pruning_nets"))
    parser.add_argument("--chosen", action="store_true", help="measure on held training images")
    parser.add_argument("--post", default="", help="a method without training, as obs")
    parser.add_argument(
        "--targets",
        default="784,784:0.97,64,64:0.93",
        help="with --post: ports, or ports:share that shall go",
    )
    parser.add_argument("--epochs", type=float, default=10.0)
    parser.add_argument("--dense-epochs", type=float, default=10.0)
    parser.add_argument("--dense-lr", type=float, default=0.0, help="0: as --lr")
    parser.add_argument(
        "--starts",
        type=int,
        default=1,
        help="nearly heater-free starts; the best at the first level",
    )
    parser.add_argument("--start", default="auto", choices=("auto", "program"))
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--distil", type=float, default=0.5)
    parser.add_argument("--ports", type=int, default=0, help="widest tile; 0: untiled")
    parser.add_argument("--port-factors", action="store_true", help="see prune{port_factors}")
    parser.add_argument("--share", default="none", help="see prune{share}")
    parser.add_argument("--rail", action="store_true", help="two-well: see prune{rail}")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the tables of results, run nothing")
    given = parser.parse_args()
    given.levels = sorted(float(level) for level in given.levels.split(","))
    if given.table:
        from pruning_tables import tables  # type: ignore[import-not-found]

        print(tables(json.loads(given.table.read_text())))
        return 0
    if "digits" not in given.nets and not given.data.is_file():
        print(f"skipped: there is no {given.data.name} (--data)")
        return 0
    for name in given.nets:
        for seed in map(int, given.seeds.split(",")):
            jobs = ["post"] if given.post else given.methods.split(",")
            for job in jobs:
                rows = post(name, seed, given) if job == "post" else walk(name, seed, job, given)
                if job == "exact":
                    print(shown(rows[0]), flush=True)
                if given.out:
                    there = json.loads(given.out.read_text()) if given.out.exists() else []
                    given.out.write_text(json.dumps(there + rows, indent=0))
    return 0


if __name__ == "__main__":
    sys.exit(main())
