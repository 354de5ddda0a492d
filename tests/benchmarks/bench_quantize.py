"""r64 on the chip as it is driven and made: codes, noise, static errors.

    python tests/benchmarks/bench_quantize.py [codes] [noise] [static] [--seeds N] [--start ...]

r64: 64-64-64-10 with ReLU on 8 x 8 pooled MNIST, trained here; the 90 % pruned one keeps a tenth
of the reference phases (prune{target=0.9}). codes: points lost with 6, 5 and 4 bits a heater.
noise: couplers and heaters off by 0.02 rad each. static: chips as fabricated, by the share of
MZIs that keep a trim heater, trimmed one by one and set together. --start NAME=PASSES, again and
again, takes other chips.
"""

# ruff: noqa: E402  (BLAS reads its number of threads when it is imported)
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.driver.compile import Compiled
from onnx2mzi.driver.fabricated import calibration_of
from onnx2mzi.emulate.accuracy import accuracy
from onnx2mzi.emulate.data import load_data, split
from onnx2mzi.emulate.imperfect import How, imperfect_program
from onnx2mzi.emulate.montecarlo import Bench, Effort, sampled
from onnx2mzi.emulate.network import Network
from onnx2mzi.emulate.setting import Setting, set_as
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Program
from onnx2mzi.passes.codes import Rounding
from onnx2mzi.passes.finetune import Finetune
from onnx2mzi.passes.quantize import Quantize, Sigma
from onnx2mzi.passes.trim import Trim
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.pipeline.base import Context, Pass
from onnx2mzi.pipeline.census import layer_census

MNIST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist.npz"
SIZES = (64, 64, 64, 10)
FIT, TEST = 20_000, 10_000
EPOCHS, BATCH, RATE = 30, 250, 4e-3
STARTS = ("dense=canonicalize", "pruned=prune{target=0.9}")


def pooled(images: Any) -> Any:
    """Means over 8 x 8 overlapping windows, in [0, 1], shape (B, 64)."""
    side = images.shape[1]
    p = np.zeros((8, side))
    for i in range(8):
        a, b = i * side // 8, -(-(i + 1) * side // 8)
        p[i, a:b] = 1 / (b - a)
    x = np.einsum("ij,bjk,lk->bil", p, images / 255.0, p, optimize=True)
    return x.reshape(-1, 64).astype(np.float32)


def trained(x: Any, y: Any, seed: int) -> bytes:
    """The dense network as ONNX."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    layers = [nn.Linear(n, m) for n, m in pairwise(SIZES)]
    net = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    steps = len(x) // BATCH
    optimizer = torch.optim.AdamW(net.parameters(), RATE / 2, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * steps)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for k in range(steps):
            rows = order[k * BATCH : (k + 1) * BATCH]
            loss = nn.functional.cross_entropy(net(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
            optimizer.step()
            rate.step()
    tensors, nodes, name = [], [], "x"
    for k, layer in enumerate(layers):
        for kind, value in (("w", layer.weight), ("b", layer.bias)):
            tensors.append(numpy_helper.from_array(value.detach().numpy(), f"{kind}{k}"))
        out = "y" if k == 2 else f"z{k}"
        nodes.append(helper.make_node("Gemm", [name, f"w{k}", f"b{k}"], [out], f"fc{k}", transB=1))
        if k < 2:
            nodes.append(helper.make_node("Relu", [out], [f"a{k}"], f"relu{k}"))
            name = f"a{k}"
    graph = helper.make_graph(
        nodes,
        "r64",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


@dataclass(frozen=True, eq=False)
class Start:
    """A chip, and the data that passes behind it may see."""

    name: str
    chip: Compiled
    context: Context
    test: Any

    def then(self, step: Pass) -> Program:
        """The chip's program, not placed, behind one more pass."""
        return step.run(replace(self.chip.program, placement=None), self.context)

    def accuracy(self, program: Program) -> float:
        """On the test samples."""
        inputs = {"x": self.test["x"]}
        found = self.chip.runner.run(program_matrices(program), program.layers, inputs)
        return accuracy(found, self.test["y"])

    def bench(self, program: Program, rows: int) -> Bench:
        """Imperfect copies of it on some of the test samples."""
        drawn = imperfect_program(program, self.context.technology)
        inputs = {"x": self.test["x"][:rows]}
        runner = self.chip.runner
        return Bench(drawn, runner.host, inputs, self.test["y"][:rows], runner=runner)


def starts(model: bytes, data: Any, test: Any, words: Sequence[str]) -> list[Start]:
    """Chips behind these passes, by name."""
    found = []
    for text in words:
        name, passes = text.split("=", 1)
        begin = time.process_time()
        chip = onnx2mzi.compile(model, optimize=passes, data=data, test=test)
        fit, held = split(load_data(data, chip.runner.host))
        network = Network(chip.runner, chip.program.layers, fit, held)
        context = Context(chip.emission.technology, network=network)
        found.append(Start(name, chip, context, test))
        heaters, seconds = chip.report["phases_active"], time.process_time() - begin
        right = chip.report["accuracy"]
        print(f"{name}: {passes}: {right:.2%}, {heaters} heaters, {seconds:.0f} s", flush=True)
    return found


def codes(start: Start) -> None:
    """Points lost on codes, against the same chip without."""
    clean = start.accuracy(start.chip.program)
    ways = [(rounding, Sigma.CODES) for rounding in Rounding]
    ways += [(rounding, Sigma.POWERS) for rounding in (Rounding.NEAREST, Rounding.SEQUENTIAL)]
    for rounding, sigma in ways:
        lost, begin = [], time.process_time()
        for bits in (6, 5, 4):
            found = start.then(Quantize(bits=bits, rounding=rounding, sigma=sigma))
            lost.append(100 * (clean - start.accuracy(found)))
        told = " ".join(f"{value:6.2f}" for value in lost)
        seconds = time.process_time() - begin
        print(f"{start.name:7} {rounding:11} {sigma:13} {told}   {seconds:.0f} s", flush=True)


def noise(start: Start) -> None:
    """Accuracy under split and phase errors, as it is and trained for them."""
    tuned = Finetune(phase_noise=0.02, split_noise=0.02)
    for name, program in ((start.name, start.chip.program), ("tuned", start.then(tuned))):
        bench = start.bench(program, 2500)
        row = [f"{bench.ideal_score.accuracy:.2%}"]
        for size in (0.02, 0.05):
            for names in (("split_rad",), ("phase_rad",), ("split_rad", "phase_rad")):
                sizes = Imperfections(phase_rad=1.0, split_rad=1.0).only(*names).times(size)
                found = sampled(bench, How(sizes), Effort(copies=24))
                row.append(f"{found.mean:.2%}")
        told = " ".join(row)
        print(f"{name:7} clean, split, phase, both of 0.02, of 0.05: {told}", flush=True)


def static(start: Start, copies: int = 4) -> None:
    """Accuracy as fabricated against trim heaters."""
    for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
        program = start.then(Trim(share=share))
        bench = start.bench(program, 1000)
        how = How(
            Imperfections(fabrication_scale=1.0),
            calibration=calibration_of(start.context.technology),
        )
        found = [
            sampled(bench, set_as(how, setting), Effort(copies=copies))
            for setting in (Setting.EACH, Setting.TOGETHER)
        ]
        heaters = sum(layer_census(x, 1.0).phases_active for x in program.layers)
        told = ", ".join(f"{item.mean:.2%} ± {item.std:.2%}" for item in found)
        print(f"{start.name:7} trims {share:4}: {heaters} heaters: {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["codes", "noise", "static"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--start", action="append", metavar="NAME=PASSES")
    parser.add_argument("--mnist", type=Path, default=MNIST)
    arguments = parser.parse_args()
    if not arguments.mnist.is_file():
        print(f"there is no {arguments.mnist}")
        return
    with np.load(arguments.mnist) as images:
        x, y = pooled(images["x_train"]), images["y_train"].astype(np.int64)
        test = {
            "x": pooled(images["x_test"])[:TEST],
            "y": images["y_test"][:TEST].astype(np.int64),
        }
    data = {"x": x[:FIT], "y": y[:FIT]}
    for seed in range(arguments.seeds):
        print(f"r64, seed {seed}")
        model = trained(x, y, seed)
        for start in starts(model, data, test, arguments.start or STARTS):
            for name, part in (("codes", codes), ("noise", noise), ("static", static)):
                if name in arguments.what:
                    part(start)


if __name__ == "__main__":
    main()
