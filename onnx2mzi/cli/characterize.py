"""`onnx2mzi characterize DIR --data x.npz`: which imperfections hurt a chip, and where."""

import argparse
from pathlib import Path
from typing import Any

from onnx2mzi.cli.parser import Parser, fraction, number, whole
from onnx2mzi.cli.terminal import Log
from onnx2mzi.errors import UsageError

# Option, field of the imperfections, what it is.
SIZES = (
    ("--sigma-phase", "phase_rad", "random phase error of a heater, rad"),
    ("--gamma", "gamma", "relative error of a heater's rate"),
    ("--sigma-split", "split_rad", "random error of a coupler's angle, rad"),
    ("--shared-split", "split_shared_rad", "deviation that all couplers of a chip share, rad"),
    ("--offset-split", "split_offset_rad", "deviation of all couplers, rad"),
    ("--split-gradient", "split_gradient_rad_mm", "gradient of couplers over the chip, rad per mm"),
    ("--loss", "loss_scale", "loss, times the technology's"),
    ("--sigma-loss", "loss_sigma_db", "spread of the loss of an MZI, dB"),
    ("--crosstalk", "crosstalk_scale", "leak of crossings, times the technology's"),
    ("--thermal", "thermal", "phase in a neighbouring guide per phase of a heater"),
    ("--fabrication", "fabrication_scale", "static phase error, times the coherence length's"),
    ("--gradient", "gradient_rad_mm2", "gradient of the phase over the chip, rad per mm^2"),
    ("--modulators", "modulator", "relative error of the inputs' amplitudes"),
    ("--detectors", "detector", "relative error of the outputs' amplitudes"),
    ("--input-noise", "input_noise", "noise of modulators, each sample, of full scale"),
    ("--output-noise", "output_noise", "noise of detectors, each sample, of full scale"),
    ("--shot-noise", "shot_noise", "shot noise of an output of full scale"),
    ("--dead", "dead", "share of heaters that make no phase"),
    ("--stuck", "stuck", "share of heaters that make a random phase"),
)


def characterize_parser() -> Parser:
    """`onnx2mzi characterize DIR --data x.npz`."""
    parser = Parser(
        prog="onnx2mzi characterize",
        description="Which imperfections hurt a compiled chip, how much, and where.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("directory", metavar="DIR", help="output folder of a compile")
    add("--data", metavar="X.npz", required=True, help="inputs (labels: y)")
    add("-o", "--output-dir", metavar="OUT", help="default DIR/characterization")
    add(
        "--copies",
        type=whole,
        metavar="N",
        help="chips a point; default 100, fewer if set together",
    )
    add("--half-width", type=fraction, metavar="0.5%", help="stop a point at this precision")
    add("--samples", type=whole, default=1000, metavar="N", help="of the data; default 1000")
    add("--drop", type=fraction, default=0.01, metavar="1%", help="what a good chip may lose")
    add("--calibrate", metavar="HOW", help="none, gain, readout; default: as detection allows")
    add(
        "--setting",
        metavar="HOW",
        default="each",
        help="heaters against static errors: none, each where it sits (default), or together",
    )
    add("--seed", type=whole, default=0, metavar="N", help="of the chips; default 0")
    add("--workers", type=whole, default=1, metavar="N", help="threads; default 1")
    add("--scheduler", metavar="tcp://HOST:8786", help="a Dask cluster instead of threads")
    sizes = parser.add_argument_group("sizes about which scans run (0 leaves one out)")
    for option, name, words in SIZES:
        sizes.add_argument(option, dest=name, type=number, metavar="X", help=words)
    add("--json", action="store_true", help="print the result as JSON only")
    add("-q", "--quiet", action="store_true", help="no log, no progress")
    add("--no-color", action="store_true", help="plain text on a terminal as well")
    add("--traceback", action="store_true", help="show where an error comes from")
    return parser


def characterize_command(arguments: argparse.Namespace) -> int:
    """Ask, write, and say the most important."""
    from onnx2mzi.cli.compile import tell_json
    from onnx2mzi.driver.characterize import FOLDER, Asked, characterize

    numbers = (arguments.copies, arguments.workers, arguments.samples)
    if any(value is not None and value < 1 for value in numbers):
        raise UsageError("--copies, --workers and --samples must be 1 or more")
    folder = Path(arguments.output_dir or Path(arguments.directory) / FOLDER)
    named = {name: getattr(arguments, name) for _, name, _ in SIZES}
    asked = Asked(
        sizes={name: value for name, value in named.items() if value is not None},
        copies=arguments.copies,
        half_width=arguments.half_width,
        samples=arguments.samples,
        seed=arguments.seed,
        workers=arguments.workers,
        scheduler=arguments.scheduler,
        calibrate=arguments.calibrate,
        setting=arguments.setting,
        drop=arguments.drop,
    )
    log = Log(0 if arguments.quiet else 1)
    try:
        _, report = characterize(
            Path(arguments.directory),
            Path(arguments.data),
            asked,
            directory=folder,
            log=log.say,
            progress=log.progress,
        )
    finally:
        log.close()
    if arguments.json:
        tell_json(report)
    else:
        print(rendered(report), end="")
        print(f"wrote {folder}")
    return 0


def rendered(report: dict[str, Any]) -> str:
    """A line a kind at its usual size, a line a layer."""
    from onnx2mzi.cli.render import table
    from onnx2mzi.emulate.setting import SAID, Setting

    lines = [f"ideal chip: {report['measure']} {report['ideal']:.2%}\n"]
    lines.append(f"made chips: {SAID[Setting(report['setting'])]}\n\n")
    rows = [["imperfection", "size", report["measure"], "", "yield", "chips"]]
    for row in report["points"]:
        if row["factor"] == 1.0 or (row["kind"] == "bits" and row["size"] == 6):
            half = "" if row["half_width"] is None else f"± {row['half_width']:.2%}"
            cells = [row["kind"], f"{row['size']:g}", f"{row['mean']:.2%}", half]
            rows.append([*cells, f"{row['yield']:.0%}", str(row["copies"])])
    lines.append(table(rows, right=(False, True, True, True, True, True)))
    rows = [["layer", report["measure"], "its settings at twice the size"]]
    for row in report["regions"]:
        if row["block"] is None:
            rows.append([row["layer"], f"{row['mean']:.2%}", ""])
    lines += ["\n", table(rows, right=(False, True)), "\n"]
    return "".join(lines)
