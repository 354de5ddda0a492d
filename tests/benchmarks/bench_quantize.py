"""r64 on the chip as it is driven and made: codes, noise, static errors.

    python tests/benchmarks/bench_quantize.py [codes] [noise] [static] [--seeds N]

r64: 64-64-64-10 with ReLU on 8 x 8 pooled MNIST, trained here; the 90 % pruned one keeps a tenth
of the reference phases (prune{target=0.9}). codes: points lost with 6, 5 and 4 bits a heater.
noise: couplers and heaters off by 0.02 rad each. static: chips as fabricated, by the share of
MZIs that keep a trim heater, trimmed one by one and set together.
"""

# ruff: noqa: E402  (BLAS reads its number of threads when it is imported)
import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnx2mzi
from onnx2mzi.driver.compile import Compiled
from onnx2mzi.emulate.imperfect import How, imperfect_program
from onnx2mzi.emulate.montecarlo import Bench, Effort, sampled
from onnx2mzi.physics.imperfection import Imperfections

MNIST = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "mnist.npz"
SIZES = (64, 64, 64, 10)
FIT, TEST = 20_000, 10_000
EPOCHS, BATCH, RATE = 30, 250, 4e-3


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


def made(model: bytes, what: str, data: Any, test: Any) -> Compiled:
    """The chip."""
    return onnx2mzi.compile(model, optimize=what, data=data, test=test)


def codes(model: bytes, data: Any, test: Any) -> None:
    """Points lost on codes, against the same chip without."""
    for name, start in (("dense", "canonicalize"), ("pruned", "prune{target=0.9}")):
        clean = made(model, start, data, test).report["accuracy"]
        print(f"{name:7} without codes {clean:7.2%}")
        for rounding in ("nearest", "sequential", "trained"):
            lost = []
            begin = time.process_time()
            for bits in (6, 5, 4):
                text = f"{start},quantize{{bits={bits} rounding={rounding} max_drop=1}}"
                lost.append(100 * (clean - made(model, text, data, test).report["accuracy"]))
            told = " ".join(f"{value:6.2f}" for value in lost)
            print(
                f"{name:7} {rounding:11} {told}   {time.process_time() - begin:.0f} s", flush=True
            )


def bench_of(chip: Compiled, test: Any, rows: int) -> Bench:
    """The chip on some of the test samples."""
    drawn = imperfect_program(chip.program, chip.emission.technology)
    inputs = {"x": test["x"][:rows]}
    return Bench(drawn, chip.runner.host, inputs, test["y"][:rows], runner=chip.runner)


def noise(model: bytes, data: Any, test: Any) -> None:
    """Accuracy under split and phase errors."""
    tuned = "finetune{phase_noise=0.02 split_noise=0.02}"
    for text in ("canonicalize", "prune{target=0.9}", f"prune{{target=0.9}},{tuned}"):
        bench = bench_of(made(model, text, data, test), test, 2500)
        row = [f"{bench.ideal_score.accuracy:.2%}"]
        for size in (0.02, 0.05):
            for names in (("split_rad",), ("phase_rad",), ("split_rad", "phase_rad")):
                sizes = Imperfections(phase_rad=1.0, split_rad=1.0).only(*names).times(size)
                found = sampled(bench, How(sizes), Effort(copies=24))
                row.append(f"{found.mean:.2%}")
        print(f"{text}: clean, split, phase, both of 0.02, of 0.05: {' '.join(row)}", flush=True)


def static(model: bytes, data: Any, test: Any, copies: int = 4) -> None:
    """Accuracy as fabricated against trim heaters."""
    from onnx2mzi.driver.fabricated import calibration_of

    for start in ("canonicalize", "prune{target=0.9}"):
        for share in (0.0, 0.1, 0.25, 0.5, 0.75, 1.0):
            chip = made(model, f"{start},trim{{share={share}}}", data, test)
            bench = bench_of(chip, test, 1000)
            how = How(
                Imperfections(fabrication_scale=1.0),
                calibration=calibration_of(chip.emission.technology),
            )
            found = [
                sampled(bench, replace(how, retune=steps), Effort(copies=copies))
                for steps in (0, 200)
            ]
            heaters, power = chip.report["phases_active"], chip.report["power_mw"]
            told = ", ".join(f"{item.mean:.2%} ± {item.std:.2%}" for item in found)
            print(f"{start} trims {share:4}: {heaters} heaters, {power:.0f} mW: {told}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", nargs="*", default=["codes", "noise", "static"])
    parser.add_argument("--seeds", type=int, default=3)
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
        for name, part in (("codes", codes), ("noise", noise), ("static", static)):
            if name in arguments.what:
                part(model, data, test)


if __name__ == "__main__":
    main()
