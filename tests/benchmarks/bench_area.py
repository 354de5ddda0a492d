"""What pruning makes of a chip: area, pads, worst loss, depth, power and currents.

    python tests/benchmarks/bench_area.py [--tech cornerstone_si220] [--check]

The digits sample with 0, 50, 90, 95 and 99 % of the reference phases gone. 0 is the textbook
chip; the others are pruned to that share whatever is lost, so the accuracy is told, too. With
--check every chip is laid out and has to pass `onnx2mzi check`.
"""

import argparse
import tempfile
from pathlib import Path
from time import process_time

import onnx2mzi
from onnx2mzi.driver.check import check
from onnx2mzi.driver.compile import Compiled

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SHARES = (0.0, 0.5, 0.9, 0.95, 0.99)
HEAD = (
    f"{'pruned':>7} {'heaters':>8} {'area mm2':>9} {'size mm':>15} {'pads':>6} {'loss dB':>8} "
    f"{'depth':>6} {'power mW':>9} {'bus mA':>7} {'rise %':>7} {'accuracy':>9} {'s':>6}  check"
)


def chip(share: float, technology: str) -> Compiled:
    """The sample with this share of the reference phases removed."""
    what = f"prune{{target={share}}}" if share else 0
    return onnx2mzi.compile(
        SAMPLES / "digits.onnx",
        what,
        tech=technology,
        data=SAMPLES / "digits_train.npz",
        test=SAMPLES / "digits_test.npz",
    )


def checked(made: Compiled) -> str:
    """What `onnx2mzi check` says of the chip's files."""
    with tempfile.TemporaryDirectory() as name:
        made.save(Path(name) / "chip")
        findings = check(Path(name) / "chip")
    failed = [finding.name for finding in findings if finding.ok is False]
    return f"failed: {', '.join(failed)}" if failed else "ok"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tech", default="cornerstone_si220")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    print(HEAD)
    for share in SHARES:
        start = process_time()
        made = chip(share, arguments.tech)
        seconds = process_time() - start
        report, placement = made.report, made.program.placement
        assert placement is not None
        size = f"{placement.width_um / 1000:.2f} x {placement.height_um / 1000:.2f}"
        print(
            f"{report['pruned_fraction']:7.1%} {report['phases_active']:8,} "
            f"{report['area_mm2']:9.1f} {size:>15} {report['pads']:6,} "
            f"{report['loss_db_worst']:8.1f} {report['depth_columns']:6} "
            f"{report['power_mw']:9,.0f} {report['bus_current_ma_max']:7.1f} "
            f"{report['ir_drop_percent_max']:7.2f} {report['accuracy']:9.2%} {seconds:6.1f}  "
            f"{checked(made) if arguments.check else 'not asked for'}",
            flush=True,
        )


if __name__ == "__main__":
    main()
