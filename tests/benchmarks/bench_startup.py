"""CPU time of ``onnx2mzi --help`` and of importing the package, against their targets.

Run it with ``python tests/benchmarks/bench_startup.py``; it ends with code 1 if a target is missed.
"""

import resource
import statistics
import subprocess
import sys

RUNS = 7
TARGETS_S = {
    "onnx2mzi --help": (["-m", "onnx2mzi", "--help"], 0.4),
    "import onnx2mzi": (["-c", "import onnx2mzi"], 0.1),
    "bare interpreter": (["-c", "pass"], float("inf")),
}


def cpu_s(arguments: list[str]) -> float:
    """Return the user and system time that one fresh interpreter took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> int:
    """Print a table; return 1 if a target is missed."""
    missed = 0
    print(f"{'command':18} {'median':>8} {'target':>8}")
    for name, (arguments, target_s) in TARGETS_S.items():
        cpu_s(arguments)  # the first run writes byte code
        median_s = statistics.median(cpu_s(arguments) for _ in range(RUNS))
        missed += median_s > target_s
        print(f"{name:18} {median_s:7.3f}s {target_s:7.3f}s")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
