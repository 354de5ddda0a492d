"""What `prune` reaches beside plain truncation and plain magnitude: active phases and accuracy.

    python tests/benchmarks/bench_prune.py [digits] [mnist] [--max-drop 0.005]

`digits` is the sample that comes with the project. `mnist` needs ../shared (mnist_fc_256x2.onnx
and mnist.npz); 1000 of its training images without labels are all that is given to fit, the
10 000 test images are only measured on.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import onnx2mzi

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
METHODS = ("obs", "ports", "truncate", "magnitude")
LOWERING = "tile,svd,decompose,canonicalize"
GIVEN = 1000
Arrays = dict[str, np.ndarray]


def digits() -> tuple[Path, Arrays, Arrays]:
    """The sample network, its training images without labels, its labelled test images."""
    samples = ROOT / "samples"
    with np.load(samples / "digits_train.npz") as fit, np.load(samples / "digits_test.npz") as test:
        name = next(key for key in fit.files if key != "y")
        return samples / "digits.onnx", {name: fit[name]}, dict(test)


def mnist() -> tuple[Path, Arrays, Arrays]:
    """784-256-256-10 on MNIST: 1000 unlabelled training images, 10 000 test images."""
    with np.load(SHARED / "data" / "mnist.npz") as data:
        chosen = np.random.default_rng(0).choice(len(data["x_train"]), GIVEN, replace=False)
        fit, test = (
            (x.reshape(len(x), 784, 1) / 255).astype(np.float32)
            for x in (data["x_train"][chosen], data["x_test"])
        )
        return (
            SHARED / "models" / "mnist_fc_256x2.onnx",
            {"x": fit},
            {"x": test, "y": data["y_test"]},
        )


def row(model: Path, fit: Arrays, test: Arrays, text: str) -> str:
    """One line of the table for one pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("fit.npz", "test.npz")]
        for path, arrays in zip(paths, (fit, test), strict=True):
            np.savez(path, **arrays)  # type: ignore[arg-type]
        start = time.perf_counter()
        chip = onnx2mzi.compile(model, onnx2mzi.Pipeline.parse(text), data=paths[0], test=paths[1])
        seconds = time.perf_counter() - start
    report = chip.report
    return (
        f"{report['phases_active']:8d} {report['active_fraction']:8.2%} "
        f"{report['power_mw'] / report['power_reference_mw']:8.2%} "
        f"{report['accuracy_reference']:9.2%} {report['accuracy']:9.2%} "
        f"{100 * report['accuracy_drop']:6.2f} {seconds:7.1f} s"
    )


def main() -> int:
    """Print a table per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--max-drop", type=float, default=0.005)
    parser.add_argument("--methods", default=",".join(METHODS))
    given = parser.parse_args()
    for net in given.nets or ["digits", "mnist"]:
        if net == "mnist" and not SHARED.is_dir():
            print(f"mnist: skipped, there is no {SHARED.name} folder beside the project")
            continue
        model, fit, test = {"digits": digits, "mnist": mnist}[net]()
        print(f"\n{net}, max_drop {given.max_drop:.2%}")
        print(f"{'':12} {'active':>8} {'of ref.':>8} {'power':>8} {'reference':>9} "
              f"{'accuracy':>9} {'points':>6} {'time':>9}")  # fmt: skip
        print(f"{'exact':12} {row(model, fit, test, LOWERING)}", flush=True)
        for method in given.methods.split(","):
            text = f"{LOWERING},prune{{method={method} max_drop={given.max_drop}}}"
            print(f"{method:12} {row(model, fit, test, text)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
