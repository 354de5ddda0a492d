"""A program with meshes, taken up again: a chip laid out for another foundry without training.

`.mzi` in the place of a model: its meshes as they are, without their places. The pipeline goes on
where its history ends; it is `place` if nothing else is asked for.
"""

from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TypeGuard

from onnx2mzi.driver.options import DEFAULT_PORTS, Options
from onnx2mzi.driver.plugins import PASSES
from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.ir import Program, Stage
from onnx2mzi.ir.files import read_mzi
from onnx2mzi.ir.verify import verify
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.chip import mesh_tiles
from onnx2mzi.pipeline.manager import Pipeline, Result
from onnx2mzi.pipeline.presets import DEFAULT_LEVEL
from onnx2mzi.tech import Detection, Technology

SUFFIX = ".mzi"
PLACE = "place"
# What makes the chips that others are compared with.
COMPARED = ("tile", "svd", "decompose", "canonicalize")


def is_program(model: object) -> TypeGuard[str | Path]:
    """Whether the file is a program of ours and not a model."""
    return isinstance(model, (str, Path)) and Path(model).suffix == SUFFIX


def valid_program(path: Path) -> Program:
    """The program of a `.mzi`. Raises InputError if it is damaged or not valid."""
    program = read_mzi(path)
    if problems := verify(program):
        shown = "; ".join(str(problem) for problem in problems[:5])
        raise InputError(
            f"is no valid program: {shown}",
            where=str(path),
            hint=f"{len(problems)} problem{'s' if len(problems) > 1 else ''} in all",
        )
    return program


def taken_up(path: Path) -> Program:
    """The program of a `.mzi` without its places and what came behind them."""
    program = valid_program(path)
    if program.stage is not Stage.PLACED:
        return program
    names = [text.partition("{")[0] for text in program.history]
    kept = names.index(PLACE) if PLACE in names else len(names)
    return replace(program, stage=Stage.MESH, placement=None, history=program.history[:kept])


def check_suits(program: Program, technology: Technology) -> None:
    """Raises UsageError if the program's meshes were drawn for heaters or receivers that the
    technology has not. Textbook chips have all heaters above, whatever the technology."""
    for tile in (tile for layer in program.layers for tile in mesh_tiles(layer)):
        wrong = ""
        drives = {tile.v.drive, tile.sigma.drive, tile.u.drive} - {Drive.UPPER_ARM}
        if drives - {technology.drive}:
            wrong = f"drive = {min(drives)}, and the technology has {technology.drive}"
        elif technology.detection is Detection.INPHASE and tile.readout_rad.any():
            wrong = f"detection = iq, and the technology has {technology.detection}"
        if wrong:
            raise UsageError(
                f"the program was drawn for {wrong}",
                where=f"--tech {technology.name}",
                hint="compile the model again for this technology",
            )


def on_program(options: Options) -> Options:
    """The options for a program with meshes: `place`, or the passes that `passes` names.

    Raises UsageError for options that say how a model becomes meshes.
    """
    if options.only or options.exclude:
        where = "--only" if options.only else "--exclude"
        raise UsageError("takes a model; a program has its layers", where=where)
    if options.ports != DEFAULT_PORTS:
        raise UsageError("takes a model; a program has its meshes", where="--ports")
    if options.input_shapes:
        raise UsageError("takes a model; a program has its shapes", where="--input-shape")
    if options.passes is not None or isinstance(options.optimize, Pipeline):
        return options
    if str(options.optimize) != str(DEFAULT_LEVEL):
        raise UsageError(
            "takes a model; a program has its meshes",
            where="-O",
            hint=f"name what is to be done with them: --passes {PLACE}, in Python "
            f"optimize=Pipeline.parse('{PLACE}')",
        )
    return replace(options, passes=PLACE)


def with_history(result: Result, program: Program, context: Context) -> Result:
    """The result of passes on `program`, with what is known of the passes before them.

    They may have changed its function, and the first of them made the chips that it is compared
    with: these are made once more, unless the history does not say how.
    """
    steps = list(takewhile(lambda text: text.partition("{")[0] in COMPARED, program.history))
    result = replace(result, lossless=False)
    if len(steps) < len(COMPARED) or any(layer.copy_of for layer in program.layers):
        return result
    layers = tuple(replace(layer, grids=()) for layer in program.layers)
    bare = replace(program, stage=Stage.LINEAR, layers=layers, history=())
    silent = Context(
        technology=context.technology,
        passive=context.passive,
        seed=context.seed,
        workers=context.workers,
    )
    made = Pipeline(PASSES.parse(",".join(steps))).run(bare, silent)
    return replace(result, reference=made.reference, exact=made.exact)
