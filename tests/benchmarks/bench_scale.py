"""Large compiles: python tests/benchmarks/bench_scale.py [resnet50|bert|small] [DIR]

A perceptron with the weights of a ResNet-50 (25.6 million) and a transformer block of the size
of BERT-base (six matrices, 7.1 million), random weights, tiles of 64 ports, `-O1` with the table
of phases and the photonic ONNX. Prints seconds (wall, and of the processor), peak memory, and
what was written. The targets are 5 minutes and 4 GB on 2 cores; ends with code 1 if one is missed.
"""

import os
import resource
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTHS = {
    "small": (512, 512, 512),
    "resnet50": (2048, 2048, 2048, 2048, 2048, 2048, 2048, 256),
    "bert": (768, 768, 768, 768, 768, 3072, 768),
}
TARGET_S, TARGET_GB = 300.0, 4.0


def write_model(path: Path, widths: tuple[int, ...]) -> int:
    """A perceptron of these widths; the number of its weights."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for k, (n, m) in enumerate(pairwise(widths)):
        values = (rng.standard_normal((n, m)) / np.sqrt(n)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"w{k}"))
        nodes.append(helper.make_node("Gemm", [last, f"w{k}"], [f"h{k}"], f"fc{k}"))
        nodes.append(helper.make_node("Relu", [f"h{k}"], [f"r{k}"], f"relu{k}"))
        last = f"r{k}"
    graph = helper.make_graph(
        nodes,
        "scale",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", widths[0]])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", widths[-1]])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, path)
    return sum(n * m for n, m in pairwise(widths))


def measure(name: str, folder: Path, *options: str) -> bool:
    """Compile one model and print what it took; whether the targets were met."""
    model, output = folder / f"{name}.onnx", folder / f"{name}_chip"
    count = write_model(model, WIDTHS[name])
    command = [sys.executable, "-m", "onnx2mzi", str(model), "-o", str(output), *options]
    start, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall_s, after = perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    # The peak of all children so far: the models grow, so it is this one's.
    peak_gb = after.ru_maxrss / 1e6
    written_gb = sum(path.stat().st_size for path in output.rglob("*") if path.is_file()) / 1e9
    print(
        f"{name:9} {count / 1e6:5.1f} M weights {wall_s:7.1f} s wall {cpu_s:7.1f} s of processor "
        f"{peak_gb:5.2f} GB peak {written_gb:6.2f} GB written  (load {os.getloadavg()[0]:.1f})",
        flush=True,
    )
    return wall_s <= TARGET_S and peak_gb <= TARGET_GB


def main() -> int:
    """Compile the models that are asked for, the small ones first."""
    words = sys.argv[1:]
    names = [name for name in ("small", "bert", "resnet50") if name in words] or [
        "bert",
        "resnet50",
    ]
    folders = [word for word in words if word not in WIDTHS]
    with tempfile.TemporaryDirectory(dir=folders[0] if folders else None) as temporary:
        met = [measure(name, Path(temporary), "--emit", "phases,onnx") for name in names]
    return int(not all(met))


if __name__ == "__main__":
    sys.exit(main())
