"""The arguments of every command. Imports nothing heavy: `--help` must be quick."""

import argparse
import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from onnx2mzi import __version__
from onnx2mzi.errors import UsageError

PROGRAM = "onnx2mzi"
_NEGATIVE = re.compile(r"-\.?[0-9]")

EPILOG = """\
verbs (when the first word is one; each has its own --help):
  inspect FILE      what a model or a .mzi holds, and what would stay electronic
  run DIR           emulate a compiled chip on data
  check DIR         is a compiled chip consistent: hashes, phases, netlist, photonic ONNX
  diff DIR DIR      two compiled chips side by side
  characterize DIR  which imperfections hurt a chip, how much, and where
  tech ACTION       the technologies: list, show NAME, check NAME
  passes            passes and back ends with their options

-O takes a level (0 textbook, 1 lossless, 2 prune, 3 prune and quantize) or passes:
  onnx2mzi net.onnx -O prune --data train.npz --test test.npz
  onnx2mzi net.onnx -O 'prune,quantize{bits=6}'
A .mzi has its meshes: it is laid out again, or goes through what --passes names.

exit codes: 0 done, 1 our bug, 2 usage, 3 input refused, 4 does not fit (or --strict),
5 verification or --max-drop failed, 6 DRC or LVS failed, 130 interrupted
"""


class Parser(argparse.ArgumentParser):
    """argparse that raises UsageError, and suggests what was meant."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        # `-1%` is a value that is out of range, no option.
        self._negative_number_matcher = _NEGATIVE

    def error(self, message: str) -> NoReturn:
        hint = f"see {self.prog} --help"
        prefix = "unrecognized arguments: "
        if message.startswith(prefix):
            word = message.removeprefix(prefix).split()[0]
            message = (
                f"there is no option '{word}'"
                if word.startswith("-")
                else (f"'{word}' is one argument too many")
            )
            known = [name for action in self._actions for name in action.option_strings]
            close = get_close_matches(word.split("=")[0], known, n=1, cutoff=0.6)
            if close and word.startswith("-"):
                hint = f"did you mean '{close[0]}'? {hint}"
        raise UsageError(message, hint=hint)


def fraction(text: str) -> float:
    """`0.5%` or `0.005`. A bare number of 0.2 or more is refused: it is mostly a forgotten %."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no fraction; write 0.5% or 0.005") from None
    if text.endswith("%"):
        value /= 100
    elif value >= 0.2:
        raise argparse.ArgumentTypeError(
            f"'{text}' would be {value:.0%}; write {text}% or {value:.0%}"
        )
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not between 0 and 100%")
    return value


def number(text: str) -> float:
    """A finite number, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is no number of 0 or more")
    return value


def duration(text: str) -> float:
    """`90`, `90s`, `10m` or `1.5h`, in seconds."""
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:], 0.0)
    try:
        return number(text[:-1] if unit else text) * (unit or 1.0)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"'{text}' is no time; write 90s, 10m or 1.5h") from None


def whole(text: str) -> int:
    """A whole number, 0 or more."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number of 0 or more")
    return int(text)


def heater_ids(text: str) -> list[str]:
    """Ids of heaters, `fc1.g0.t0.u.c3.p2.theta,...`."""
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise argparse.ArgumentTypeError(f"'{text}' names no heater; ids are those of phases.csv")
    return ids


def input_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """`NAME:1,3,224,224`; the name may hold colons."""
    name, _, shape = text.rpartition(":")
    sizes = shape.split(",")
    if not name or not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise argparse.ArgumentTypeError(f"'{text}' is not like NAME:1,3,224,224")
    return name, tuple(int(size) for size in sizes)


def compile_parser() -> Parser:
    """`onnx2mzi MODEL.onnx [options]`."""
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} MODEL.onnx [-O WHAT] [-o DIR] [options]\n       {PROGRAM} VERB ...",
        description="Compile a trained network (ONNX) to a pruned photonic chip of MZI meshes.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL.onnx", nargs="?", help="the network, or a .mzi")
    _add_what(parser)
    _add_accuracy(parser)
    _add_output(parser)
    _add_debugging(parser)
    _add_common(parser)
    return parser


def _add_what(parser: Parser) -> None:
    group = parser.add_argument_group("what to make")
    add = group.add_argument
    add("-O", dest="optimize", metavar="WHAT", default="1", help="level 0..3 or passes; default 1")
    add("--passes", metavar="TEXT", help="the whole pipeline; nothing is inserted")
    add("--tech", metavar="NAME|FILE", help="technology; see `onnx2mzi tech list`")
    add("--ports", type=whole, metavar="N", default=64, help="ports of a mesh; default 64")
    add("--mesh", metavar="NAME", help="layout of the MZIs: clements (default), reck")
    add(
        "--passive",
        metavar="WHICH",
        default="common",
        help="phases that may be fixed in the waveguides: none, common (default), quarter, all",
    )
    add(
        "--input-shape",
        type=input_shape,
        action="append",
        default=[],
        metavar="NAME:1,3,224,224",
        help="shape of an input, where the model leaves it open",
    )
    add("--only", action="append", default=[], metavar="NODE", help="make only these photonic")
    add("--exclude", action="append", default=[], metavar="NODE", help="leave these electronic")
    add(
        "--broken",
        action="extend",
        type=heater_ids,
        default=[],
        metavar="ID,...",
        help="heaters that do not work (ids of phases.csv): the others make up for them",
    )
    add("--strict", action="store_true", help="fail if a linear layer stays electronic")
    add(
        "--unroll",
        action="append",
        default=[],
        metavar="LAYER",
        help="a chip for every position at which the layer is used; all: of every layer",
    )


def _add_accuracy(parser: Parser) -> None:
    group = parser.add_argument_group("how accurate")
    add = group.add_argument
    add("--data", metavar="X.npz", help="inputs (labels: y) for fitting")
    add("--test", metavar="X.npz", help="for measuring; default: every second row of --data")
    add(
        "--measured",
        metavar="ERRORS.csv",
        help="errors of a made chip: its heaters are set for them (retuned.csv)",
    )
    add("--budget", type=number, metavar="E", help="relative error a layer, without data")
    add("--max-drop", type=fraction, metavar="0.5%", help="largest loss of accuracy; else exit 5")
    add(
        "--time-limit",
        type=duration,
        metavar="10m",
        help="training ends so long after the start (s, m, h), with the best chip so far",
    )
    add("--seed", type=whole, default=0, metavar="N", help="of everything random; default 0")


def _add_output(parser: Parser) -> None:
    group = parser.add_argument_group("what to write")
    add = group.add_argument
    add("-o", "--output-dir", metavar="DIR", help="default MODEL_mzi/")
    add(
        "--emit",
        metavar="WHAT",
        help="of phases,gds,netlist,onnx,report,ir (default: all of these), spice; "
        "gds=LAYER,... draws these layers only",
    )
    add("--force", action="store_true", help="write into a folder that onnx2mzi did not make")
    add("--dry-run", action="store_true", help="import and plan; write nothing")
    add("--resume", action="store_true", help="go on where the same compile was interrupted")
    add("--workers", type=whole, metavar="N", help="tiles at a time; default: all cores")
    add("--config", metavar="FILE", help="read options from a TOML file (onnx2mzi.toml)")
    add("--save-config", metavar="FILE", help="write the options in force to a TOML file")
    add("--plugin", action="append", default=[], metavar="FILE.py", help="a script with own passes")


def _add_debugging(parser: Parser) -> None:
    group = parser.add_argument_group("looking inside")
    add = group.add_argument
    add("--print-pipeline", action="store_true", help="print what --passes takes, and end")
    add("--print-after", action="append", default=[], metavar="PASS", help="IR, on stderr")
    add("--print-after-all", action="store_true", help="IR behind every pass, on stderr")
    add("--dump-ir", metavar="DIR", help="write numbered .mzi files")
    add("--timing", action="store_true", help="seconds of every pass, on stderr and in the report")


def _add_common(parser: Parser) -> None:
    group = parser.add_argument_group("terminal")
    add = group.add_argument
    add("--json", action="store_true", help="print the result as JSON only")
    add("-v", "--verbose", action="count", default=0, help="a line a pass; -vv: more")
    add("-q", "--quiet", action="store_true", help="no log, no progress")
    add("--no-color", action="store_true", help="plain text on a terminal as well")
    add("--traceback", action="store_true", help="show where an error comes from")
    add("-V", "--version", action="version", version=f"{PROGRAM} {__version__}")


def _verb(name: str, description: str) -> Parser:
    return Parser(prog=f"{PROGRAM} {name}", description=description, allow_abbrev=False)


def inspect_parser() -> Parser:
    """`onnx2mzi inspect FILE`."""
    parser = _verb("inspect", "What a model, a .mzi file or an output folder holds.")
    parser.add_argument("file", metavar="FILE", help="MODEL.onnx, PROGRAM.mzi, or a folder")
    parser.add_argument("--ports", type=whole, metavar="N", default=64, help="default 64")
    parser.add_argument(
        "--input-shape", type=input_shape, action="append", default=[], metavar="NAME:1,3,224,224"
    )
    _add_common(parser)
    return parser


def run_parser() -> Parser:
    """`onnx2mzi run DIR --data x.npz`."""
    parser = _verb("run", "Emulate a compiled chip on data, beside the network that was asked for.")
    parser.add_argument("directory", metavar="DIR", help="output folder of a compile")
    parser.add_argument("--data", metavar="X.npz", required=True, help="inputs (labels: y)")
    parser.add_argument("-o", "--output", metavar="Y.npz", help="write the ideal chip's outputs")
    parser.add_argument(
        "--imperfect",
        metavar="SIZES",
        help="also imperfect copies: typical, or e.g. 'phase_rad=0.02 split_rad=0.01'",
    )
    parser.add_argument(
        "--heat", action="store_true", help="also what the heat of its heaters does to the chip"
    )
    parser.add_argument(
        "--copies",
        type=whole,
        metavar="N",
        help="imperfect copies; default 20, fewer if set together",
    )
    parser.add_argument(
        "--setting",
        metavar="HOW",
        help="heaters against static errors: none, each where it sits (default), or together",
    )
    parser.add_argument("--seed", type=whole, metavar="N", help="of the imperfections; default 0")
    _add_common(parser)
    return parser


def check_parser() -> Parser:
    """`onnx2mzi check DIR`."""
    parser = _verb("check", "Is a compiled chip consistent? Every file against the program.")
    parser.add_argument("directory", metavar="DIR", help="output folder of a compile")
    _add_common(parser)
    return parser


def diff_parser() -> Parser:
    """`onnx2mzi diff DIR DIR`."""
    parser = _verb("diff", "Two compiled chips side by side.")
    parser.add_argument("before", metavar="DIR", help="output folder of a compile")
    parser.add_argument("after", metavar="DIR", help="another one")
    _add_common(parser)
    return parser


def tech_parser() -> Parser:
    """`onnx2mzi tech list|show NAME|check NAME`."""
    parser = _verb("tech", "The technologies: what a foundry can make.")
    parser.add_argument(
        "action", choices=("list", "show", "check"), help="all names, or one's file or P_pi"
    )
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="which to show or check")
    _add_common(parser)
    return parser


def passes_parser() -> Parser:
    """`onnx2mzi passes`."""
    parser = _verb("passes", "Passes and back ends with their options.")
    parser.add_argument("name", nargs="?", metavar="NAME", help="only this one")
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE.py", help="a script with own passes"
    )
    _add_common(parser)
    return parser


def characterize_parser() -> Parser:
    """`onnx2mzi characterize DIR --data x.npz`."""
    from onnx2mzi.cli.characterize import characterize_parser as made

    return made()


VERBS: dict[str, Callable[[], Parser]] = {
    "inspect": inspect_parser,
    "run": run_parser,
    "check": check_parser,
    "diff": diff_parser,
    "characterize": characterize_parser,
    "tech": tech_parser,
    "passes": passes_parser,
}


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """The verb ("compile" if the first word is none) and its arguments. Raises UsageError."""
    if argv and argv[0] in VERBS:
        return argv[0], VERBS[argv[0]]().parse_args(argv[1:])
    return "compile", compile_parser().parse_args(argv)
