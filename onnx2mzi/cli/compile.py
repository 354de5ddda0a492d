"""`onnx2mzi MODEL.onnx`: from arguments to options, and what is said about the chip."""

import argparse
import json
import os
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from onnx2mzi.cli import render
from onnx2mzi.cli.config import check_saved_config, save_config, with_config
from onnx2mzi.cli.parser import PROGRAM
from onnx2mzi.cli.terminal import Log, colored
from onnx2mzi.driver.again import is_program, on_program
from onnx2mzi.driver.compile import compile_model
from onnx2mzi.driver.emit import LayersAreThere, backends_of, check_writers, final_stage
from onnx2mzi.driver.inspect import plan
from onnx2mzi.driver.options import Ears, Options, pipeline_of
from onnx2mzi.driver.output import check_inputs_stay, check_target
from onnx2mzi.driver.resume import keeping, resume_folder, work_key
from onnx2mzi.errors import DropError, Onnx2MziError, UsageError, VerificationError
from onnx2mzi.pipeline.instruments import DumpIr, Narrator, PrintAfter, Timing
from onnx2mzi.pipeline.manager import Instrument, Pipeline

# Options that change where and how the result is told, not the result.
_NOT_OF_THE_RESULT = (
    "-o", "--output-dir", "--dump-ir", "--print-after", "--save-config", "--workers",
)  # fmt: skip
_NOT_OF_THE_RESULT_FLAGS = (
    "--json", "--quiet", "-q", "-v", "-vv", "--verbose", "--no-color", "--traceback", "--force",
    "--print-after-all", "--resume",
)  # fmt: skip


def compile_command(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Compile, write and tell."""
    arguments = with_config(arguments, words)
    load_scripts(arguments.plugin)
    options = options_of(arguments, command_text(words))
    if is_program(arguments.model):
        options = on_program(options)
    read = inputs_of(arguments)
    pipeline = pipeline_of(options)
    check_saved_config(arguments, read)
    if arguments.print_pipeline:
        save_config(arguments)
        print(pipeline)
        return 0
    if arguments.model is None:
        raise UsageError("no MODEL.onnx is given", hint=f"see {PROGRAM} --help")
    target = output_directory(arguments)
    writers = backends_of(arguments.emit)
    check_writers(writers, final_stage(pipeline, again=is_program(arguments.model)))
    check_names(arguments.print_after, pipeline)
    check_target(target, force=arguments.force)
    check_inputs_stay(target, read)
    save_config(arguments)
    if arguments.dry_run:
        tell_plan(arguments, options, target)
        return 0
    log = Log(0 if arguments.quiet else 1 + arguments.verbose)
    timing = Timing() if arguments.timing else None
    log.more(f"pipeline: {pipeline}")
    watching = watchers(arguments, log, timing)
    start = perf_counter()
    key = work_key(arguments.model, options)
    try:
        with keeping(target, key, resume=arguments.resume) as kept:
            chip = compile_model(
                arguments.model,
                options,
                Ears(log.say, log.progress, (LayersAreThere(writers, pipeline), *watching), kept),
            )
            files = chip.save(
                target,
                emit=arguments.emit,
                force=arguments.force,
                progress=log.progress,
                log=log.say,
            )
        if kept is not None and kept.found:
            log.say(f"--resume: {kept.found} finished layers or passes were taken up again")
    except DropError as error:
        raise kept_aside(error, target, arguments) from error
    except KeyboardInterrupt:
        if resume_folder(target).is_dir():
            log.say("finished layers are kept; --resume goes on with them")
        raise
    finally:
        log.close()
    seconds = perf_counter() - start
    if timing is not None:
        sys.stderr.write(timing.table() + f"{seconds:9.3f} s  the whole compile\n")
    log.detail(f"done in {seconds:.2f} s")
    if arguments.json:
        tell_json(
            {
                **chip.report,
                "output_dir": str(target),
                "files": sorted(files),
                "wall_seconds": seconds,
            }
        )
    else:
        color = colored(sys.stdout, no_color=arguments.no_color)
        print(render.result(chip.report, wrote=str(target), files=len(files), color=color), end="")
    return 0


def kept_aside(error: DropError, target: Path, arguments: argparse.Namespace) -> VerificationError:
    """The error for a chip that loses too much, which is written beside `target`: it may have taken
    hours, and another may be content with it."""
    aside = target.with_name(f"{target.name}.missed")
    try:
        check_inputs_stay(aside, inputs_of(arguments))
        error.chip.save(aside, emit=arguments.emit, force=arguments.force)
        told = f"the chip that missed is in {aside}"
    except Onnx2MziError as why:
        told = f"the chip that missed could not be written: {why}"
    return VerificationError(error.message, where=error.where, hint=f"{error.hint}; {told}")


def options_of(arguments: argparse.Namespace, command: str) -> Options:
    """What the arguments ask for."""
    return Options(
        optimize=arguments.optimize,
        passes=arguments.passes,
        tech=arguments.tech,
        ports=arguments.ports,
        mesh=arguments.mesh,
        input_shapes=dict(arguments.input_shape),
        only=tuple(arguments.only),
        exclude=tuple(arguments.exclude),
        unroll=tuple(arguments.unroll),
        broken=tuple(arguments.broken),
        data=arguments.data,
        test=arguments.test,
        measured=arguments.measured,
        passive=arguments.passive,
        budget=arguments.budget,
        max_drop=arguments.max_drop,
        time_limit=arguments.time_limit,
        strict=arguments.strict,
        seed=arguments.seed,
        workers=cores() if arguments.workers is None else arguments.workers,
        timing=arguments.timing,
        command=command,
    )


def inputs_of(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    """The files that a compile reads, in words and by path (or name, of a technology)."""
    named = {
        "the model": arguments.model,
        "--data": arguments.data,
        "--test": arguments.test,
        "--measured": arguments.measured,
        "--tech": arguments.tech,
        "--config": arguments.config,
    }
    if is_program(arguments.model):
        named["the model's arrays"] = str(Path(arguments.model).with_suffix(".npz"))
    found = [(what, path) for what, path in named.items() if path]
    return found + [("--plugin", path) for path in arguments.plugin]


def cores() -> int:
    """The processor's cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def command_text(words: Sequence[str]) -> str:
    """The command for the manifest, without what only says where and how the result is told."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in _NOT_OF_THE_RESULT:
            skip = True
        elif not (word in _NOT_OF_THE_RESULT_FLAGS or _attached(word)):
            kept.append(word)
    return shlex.join([PROGRAM, *kept])


def _attached(word: str) -> bool:
    return any(
        word.startswith(f"{name}=" if name.startswith("--") else name)
        for name in _NOT_OF_THE_RESULT
    )


def load_scripts(paths: Sequence[str]) -> None:
    """Run the user's scripts, whose `@register_pass` makes passes known by name."""
    for path in paths:
        where = f"--plugin {path}"
        if not Path(path).is_file():
            raise UsageError("there is no such file", where=where)
        try:
            runpy.run_path(path, run_name="onnx2mzi_plugin")
        except UsageError:
            raise
        except Exception as error:
            raise UsageError(
                f"fails: {type(error).__name__}: {error}", where=where, hint="repair the script"
            ) from error


def output_directory(arguments: argparse.Namespace) -> Path:
    """`-o`, or MODEL_mzi beside where the command runs."""
    if arguments.output_dir is not None:
        if not arguments.output_dir:
            raise UsageError("is empty", where="-o", hint="name a folder")
        return Path(arguments.output_dir)
    return Path(f"{Path(arguments.model).stem}_mzi")


def check_names(names: Sequence[str], pipeline: Pipeline) -> None:
    """Raises UsageError if `--print-after` names a pass that does not run."""
    run = [step.name for step in pipeline.passes]
    for name in names:
        if name not in run:
            raise UsageError(
                f"pass '{name}' does not run",
                where="--print-after",
                hint=f"the pipeline is: {','.join(run)}",
            )


def watchers(
    arguments: argparse.Namespace, log: Log, timing: Timing | None
) -> tuple[Instrument, ...]:
    """The instruments that the arguments ask for."""
    found: list[Instrument] = [Narrator(log.detail)]
    if arguments.print_after_all:
        found.append(PrintAfter(sys.stderr))
    elif arguments.print_after:
        found.append(PrintAfter(sys.stderr, frozenset(arguments.print_after)))
    if arguments.dump_ir is not None:
        found.append(DumpIr(Path(arguments.dump_ir)))
    if timing is not None:
        found.append(timing)
    return tuple(found)


def tell_plan(arguments: argparse.Namespace, options: Options, target: Path) -> None:
    """What would be compiled; nothing is."""
    planned = plan(arguments.model, options)
    planned |= {"pipeline": str(pipeline_of(options)), "output_dir": str(target)}
    if arguments.json:
        tell_json(planned)
        return
    print(render.model(planned), end="")
    print(f"pipeline: {planned['pipeline']}")
    print(f"would write {target} (dry run: nothing is written)")


def tell_json(content: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(content, indent=2, ensure_ascii=False))
