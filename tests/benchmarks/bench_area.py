"""What pruning makes of a chip: area, pads, worst loss, depth, power and currents.

    python tests/benchmarks/bench_area.py [--tech cornerstone_si220] [--check] [--trained]

The digits sample with 0, 50, 90, 95 and 99 % of the reference phases gone. 0 is the textbook
chip; the others are pruned to that share whatever is lost, so the accuracy is told, too. With
--trained (the extra `train`) the second table: few heaters, trained, and a die of the technology
that holds the chip. With --check every chip is laid out and has to pass `onnx2mzi check`.
"""

import argparse
import tempfile
from pathlib import Path
from time import process_time

import onnx2mzi
from onnx2mzi.driver.check import check
from onnx2mzi.driver.compile import Compiled
from onnx2mzi.passes.place import die_share
from onnx2mzi.tech import load_technology

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
SHARES = (0.0, 0.5, 0.9, 0.95, 0.99)
# Passes and seed. Dead inputs, units and channels first makes for fewer rows.
PORTS = "prune{method=ports target=0.9},"
TRAINED = (
    ("prune{method=surgeon target=0.9924}", 0),
    ("prune{method=surgeon target=0.994}", 0),
    (PORTS + "prune{method=surgeon target=0.994}", 0),
    (PORTS + "prune{method=surgeon target=0.9945 epochs=120}", 1),
    (PORTS + "prune{method=surgeon target=0.995}", 0),
)
HEAD = (
    f"{'pruned':>7} {'heaters':>8} {'area mm2':>9} {'size mm':>15} {'die':>4} {'pads':>6} "
    f"{'loss dB':>8} {'depth':>6} {'power mW':>9} {'bus mA':>7} {'rise %':>7} {'accuracy':>9} "
    f"{'s':>6}  check"
)


def chip(what: str | int, technology: str, seed: int = 0) -> Compiled:
    """The sample, optimised so."""
    return onnx2mzi.compile(
        SAMPLES / "digits.onnx",
        what,
        tech=technology,
        data=SAMPLES / "digits_train.npz",
        test=SAMPLES / "digits_test.npz",
        seed=seed,
    )


def checked(made: Compiled) -> str:
    """What `onnx2mzi check` says of the chip's files."""
    with tempfile.TemporaryDirectory() as name:
        made.save(Path(name) / "chip")
        findings = check(Path(name) / "chip")
    failed = [finding.name for finding in findings if finding.ok is False]
    return f"failed: {', '.join(failed)}" if failed else "ok"


def row(what: str | int, technology: str, *, checks: bool, seed: int = 0) -> str:
    """A chip's line of the table."""
    start = process_time()
    made = chip(what, technology, seed)
    seconds = process_time() - start
    report, placement = made.report, made.program.placement
    assert placement is not None
    width, height = placement.width_um, placement.height_um
    fits = die_share(width, height, load_technology(technology)) == 1
    return (
        f"{report['pruned_fraction']:7.1%} {report['phases_active']:8,} "
        f"{report['area_mm2']:9.1f} {f'{width / 1000:.2f} x {height / 1000:.2f}':>15} "
        f"{'yes' if fits else 'no':>4} {report['pads']:6,} "
        f"{report['loss_db_worst']:8.1f} {report['depth_columns']:6} "
        f"{report['power_mw']:9,.0f} {report['bus_current_ma_max']:7.1f} "
        f"{report['ir_drop_percent_max']:7.2f} {report['accuracy']:9.2%} {seconds:6.1f}  "
        f"{checked(made) if checks else 'not asked for'}"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tech", default="cornerstone_si220")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--trained", action="store_true")
    arguments = parser.parse_args()
    print(HEAD)
    for share in SHARES:
        what = f"prune{{target={share}}}" if share else 0
        print(row(what, arguments.tech, checks=arguments.check), flush=True)
    if arguments.trained:
        print(f"\n{HEAD}")
        for recipe, seed in TRAINED:
            told = row(recipe, arguments.tech, checks=arguments.check, seed=seed)
            print(f"{told}  {recipe} --seed {seed}", flush=True)


if __name__ == "__main__":
    main()
