"""One compile from model to chip, and the chip that comes out of it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.driver import measure
from onnx2mzi.driver.again import (
    check_suits,
    is_program,
    on_program,
    taken_up,
    valid_program,
    with_history,
)
from onnx2mzi.driver.emit import backends_of, check_writers, final_stage, left_out
from onnx2mzi.driver.fabricated import with_fabrication
from onnx2mzi.driver.heat import with_heat
from onnx2mzi.driver.measured import FILE as RETUNED_FILE
from onnx2mzi.driver.measured import Retuned, check_measured, with_measured
from onnx2mzi.driver.options import Ears, Options, check_numbers, passive_of, pipeline_of
from onnx2mzi.driver.output import files_of, need_manifest, staged, write_manifest
from onnx2mzi.driver.plugins import technology
from onnx2mzi.driver.provenance import about
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.errors import FitError, InputError, UsageError
from onnx2mzi.frontend import import_model
from onnx2mzi.ir import Host, Program
from onnx2mzi.pipeline import summary
from onnx2mzi.pipeline.backend import Emission
from onnx2mzi.pipeline.base import Context
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.pipeline.spec import show
from onnx2mzi.tech import dump_technology, parse_technology
from onnx2mzi.train.biases import original_host

Model = str | Path | bytes
PROGRAM = "program.mzi"
REPORT = "report.json"


def compile_model(model: Model, options: Options, ears: Ears | None = None) -> "Compiled":
    """The chip for a model, or for a `.mzi`, emulated and compared with it. Writes nothing.

    Raises UsageError, InputError, FitError (`strict`), VerificationError, or DropError with the
    chip that loses more than `max_drop`.
    """
    ears = ears or Ears()
    again = is_program(model)
    options = on_program(options) if again else options
    check_numbers(options)
    target = technology(options.tech)
    pipeline = pipeline_of(options)
    check_measured(options, final_stage(pipeline, again=again))
    program = imported(model, options)
    if again:
        check_suits(program, target)
    # One thread: the order of its sums must not depend on the machine.
    host = original_host(host_of(program))
    runner = HostRunner(host)
    samples = measure.samples(program, runner, options)
    for note in samples.notes:
        ears.log(note)
    points: list[FrontierPoint] = []
    context = Context(
        technology=target,
        passive=passive_of(options),
        network=samples.network,
        seed=options.seed,
        workers=options.workers,
        kept=ears.kept,
        log=ears.log,
        progress=ears.progress,
        point=points.append,
    )
    result = pipeline.run(program, context, ears.watch)
    if again:
        result = with_history(result, program, context)
    trained = result.program.host is not host
    made = HostRunner(host_of(result.program)) if trained else runner
    found = measure.measured(model, result, made, samples, original=runner)
    found = with_fabrication(
        found,
        result.program,
        target,
        made,
        samples,
        seed=options.seed,
        drop=options.max_drop,
    )
    settings: Retuned | None = None
    if options.measured is not None:
        found, settings = with_measured(
            found, result.program, target, (runner, made), samples, options
        )
    found = with_heat(found, result.program, target, made, samples)
    measure.judge_lossless(found, lossless=result.lossless)
    chip = Compiled(
        Emission(
            program=result.program,
            technology=target,
            matrices=result.matrices,
            measured=found,
            passes=result.passes,
            reference=result.reference,
            exact=result.exact,
            command=options.command,
            seconds=sum(record.seconds for record in result.passes) if options.timing else None,
            frontier=tuple(points),
        ),
        {**about(model, options, pipeline), "technology": dump_technology(target)},
        retuned=settings,
    )
    if options.max_drop is not None:
        if options.data is None and options.test is None:
            ears.log("--max-drop was not checked: there are no data to measure on (--data, --test)")
        else:
            measure.judge_drop(found, options.max_drop, chip)
    return chip


def imported(model: Model, options: Options) -> Program:
    """The model's linear layers and its host graph. With `strict` all of it must be photonic.

    A program with meshes is taken up as it is.
    """
    if is_program(model):
        return taken_up(Path(model))
    program = import_model(
        model,
        ports=options.ports,
        only=tuple(options.only),
        exclude=tuple(options.exclude),
        input_shapes={name: tuple(shape) for name, shape in options.input_shapes.items()},
    )
    kept = program.host.electronic if program.host is not None else ()
    linear = [item for item in kept if item.linear]
    if options.strict and linear:
        left = "; ".join(f"{item.loc}: {item.why}" for item in linear)
        count = len(linear)
        raise FitError(
            f"{count} linear node{'s' if count > 1 else ''} would stay electronic: {left}",
            where="--strict",
            hint="compile without --strict to leave them to the host",
        )
    return program


def host_of(program: Program) -> Host:
    """The program's host graph. Raises InputError if it has none (a hand-made program)."""
    if program.host is None:
        raise InputError("has no host graph that could run it", where=program.name)
    return program.host


@dataclass(frozen=True)
class Compiled:
    """A finished chip: its program, what was measured, and how to run and save it.

    `about` goes into the manifest; `saved_report` is what report.json said, if it was loaded;
    `retuned` how the heaters of a made chip are set, if its errors were given.
    """

    emission: Emission
    about: Mapping[str, Any] = field(default_factory=dict)
    saved_report: Mapping[str, Any] | None = None
    retuned: Retuned | None = None

    def __repr__(self) -> str:
        right = self.emission.measured.accuracy
        return f"Compiled({self.program!r}{'' if right is None else f', accuracy: {right:.2%}'})"

    @property
    def program(self) -> Program:
        """The program: layers, meshes, places."""
        return self.emission.program

    @property
    def pipeline(self) -> str:
        """The text of every pass that ran; `Pipeline.parse` takes it."""
        return ",".join(self.program.history)

    @cached_property
    def report(self) -> dict[str, Any]:
        """The numbers of report.json."""
        if self.saved_report is not None:
            return dict(self.saved_report)
        return summary.report(self.emission)

    @cached_property
    def runner(self) -> HostRunner:
        """The host graph in onnxruntime."""
        return HostRunner(host_of(self.program))

    @cached_property
    def _original(self) -> HostRunner:
        host = host_of(self.program)
        first = original_host(host)
        return self.runner if first is host else HostRunner(first)

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the network with the ideal chip in it, by name.

        `inputs` maps the names of the model's inputs to arrays with samples along axis 0; one
        array will do for a model with one input.
        """
        return self.runner.run(self.emission.matrices, self.program.layers, self._named(inputs))

    def run_original(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs with the matrices that the model asks for."""
        return self._original.run({}, self.program.layers, self._named(inputs))

    def save(
        self,
        directory: str | Path,
        *,
        emit: str | None = None,
        force: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
        log: Callable[[str], None] | None = None,
    ) -> dict[str, Path]:
        """Write all files of the chip; paths by file name.

        `emit` lists back ends (default: all; large chips go without a layout and a netlist then,
        which `log` and the manifest tell). The folder appears whole or not at all; one that is
        not empty and not ours is refused unless `force`.
        """
        target = Path(directory)
        writers = backends_of(emit)
        check_writers(writers, self.program.stage)
        without = left_out(self.program, writers) if emit is None else {}
        writers = tuple(writer for writer in writers if writer.name not in without)
        if log is not None:
            for name, why in without.items():
                log(f"{name} is left out: {why}")
        emission = self.emission
        if self.saved_report is None:
            # Costly for large chips, and told on the terminal as well.
            emission = replace(emission, numbers=self.report)
        told = {writer.name: writer.told(emission) for writer in writers}
        emission = replace(emission, beside={name: files for name, files in told.items() if files})
        with staged(target, force=force) as stage:
            for done, writer in enumerate(writers):
                if progress is not None:
                    progress("write files", done, len(writers))
                writer.write(emission, stage)
            if self.retuned is not None:
                (stage / RETUNED_FILE).write_text(self.retuned.table(), encoding="utf-8")
            notes = {
                key: note for writer in writers for key, note in writer.notes(emission).items()
            }
            emitted = [show(writer) for writer in writers]
            if without:
                notes["left_out"] = without
            write_manifest(stage, {**self.about, "emit": emitted, **notes})
        home = target.resolve()
        files = (path.relative_to(home) for path in sorted(files_of(target)))
        return {name.as_posix(): target / name for name in files}

    def _named(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        if isinstance(inputs, Mapping):
            return inputs
        names = [spec.name for spec in host_of(self.program).inputs]
        if len(names) != 1:
            raise UsageError(
                f"the model has {len(names)} inputs: {', '.join(names)}",
                hint="give a dict of arrays",
            )
        return {names[0]: np.asarray(inputs)}


def load(directory: str | Path) -> Compiled:
    """A chip that `save` wrote. Raises InputError for any other folder, or a damaged one."""
    folder = Path(directory)
    manifest = need_manifest(folder)
    if not (folder / PROGRAM).is_file():
        raise InputError(
            f"has no {PROGRAM}", where=str(folder), hint="compile again with ir among --emit"
        )
    program = valid_program(folder / PROGRAM)
    text = str(manifest.get("technology", ""))
    emission = Emission(
        program=program,
        technology=parse_technology(text, where=f"technology of {folder / 'manifest.json'}"),
        matrices=program_matrices(program),
    )
    about = {key: value for key, value in manifest.items() if key != "files"}
    saved = _report(folder / REPORT) if (folder / REPORT).is_file() else None
    return Compiled(emission, about, saved)


def _report(path: Path) -> dict[str, Any]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    if not isinstance(report, dict):
        raise InputError("is no report", where=str(path))
    return report
