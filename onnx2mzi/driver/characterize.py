"""`characterize`: a compiled chip, data, and imperfections to numbers and a page in a folder."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi import __version__
from onnx2mzi.backends.characterization import devices_csv, numbers, page, points_csv
from onnx2mzi.driver.cluster import connected
from onnx2mzi.driver.compile import Compiled, host_of, load
from onnx2mzi.driver.copies import chosen_setting
from onnx2mzi.driver.fabricated import calibration_of
from onnx2mzi.driver.measure import data_name
from onnx2mzi.emulate.accuracy import check_labels
from onnx2mzi.emulate.characterize import (
    BITS,
    FACTORS,
    JOINT,
    Characterization,
    Questions,
    characterized,
)
from onnx2mzi.emulate.data import Dataset, load_data
from onnx2mzi.emulate.imperfect import Calibration, imperfect_program
from onnx2mzi.emulate.journal import Journal
from onnx2mzi.emulate.montecarlo import Bench, Effort
from onnx2mzi.emulate.setting import Setting, affordable
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Stage
from onnx2mzi.physics.imperfection import Imperfections
from onnx2mzi.physics.imperfection_random import VERSION
from onnx2mzi.tech import Technology

JOURNAL, NUMBERS = "copies.jsonl", "characterization.json"
POINTS, DEVICES, PAGE = "imperfections.csv", "devices.csv", "characterization.html"
FOLDER = "characterization"
# Chips a point, if the user does not say.
COPIES = 100

Data = str | Path | Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user can ask of a characterization.

    `sizes` are those about which scans run; fields that are not given are the technology's
    typical ones.
    `calibrate` None: what the technology's detection allows. `samples` bounds the data (evenly
    spread rows), `drop` is what a good chip may lose. `setting` is none, each or together
    (`emulate.setting`). `copies` None: 100, fewer of chips whose heaters are set together.
    """

    sizes: Mapping[str, float] = field(default_factory=dict)
    copies: int | None = None
    half_width: float | None = None
    samples: int = 1000
    seed: int = 0
    workers: int = 1
    scheduler: str | None = None
    calibrate: str | Calibration | None = None
    setting: str | Setting = Setting.EACH
    drop: float = 0.01
    factors: tuple[float, ...] = FACTORS
    bits: tuple[int, ...] = BITS


def sizes_of(asked: Asked, technology: Technology) -> Imperfections:
    """All sizes. Raises UsageError for those that make no sense."""
    try:
        return replace(technology.errors.typical(), **dict(asked.sizes))  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise UsageError(f"no such imperfections: {error}", where="characterize") from None


def characterize(
    chip: Compiled | str | Path,
    data: Data,
    asked: Asked | None = None,
    *,
    directory: Path | None = None,
    executor: Executor | None = None,
    log: Callable[[str], None] = lambda message: None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[Characterization, dict[str, Any]]:
    """Characterize a chip; what was found, and the same as JSON types.

    With a `directory`, results of copies stream into it and a broken run goes on; all files are
    there at the end. `executor` takes the place of threads: one of processes, or that of a Dask
    client (`client.get_executor()`). Raises UsageError and InputError.
    """
    asked = asked or Asked()
    if executor is None and asked.scheduler is not None:
        with connected(asked.scheduler) as cluster:
            there = replace(asked, scheduler=None, workers=cluster.threads)
            return characterize(
                chip,
                data,
                there,
                directory=directory,
                executor=cluster.executor,
                log=log,
                progress=progress,
            )
    compiled = chip if isinstance(chip, Compiled) else load(chip)
    program, technology = compiled.program, compiled.emission.technology
    if program.stage is Stage.LINEAR:
        raise UsageError("is not on meshes yet: there is nothing imperfect", where=program.name)
    host = host_of(program)
    dataset = load_data(data, host)
    for note in dataset.notes:
        log(note)
    one = compiled.run_original(dataset.take(slice(0, 1)).inputs)
    check_labels(one, dataset.labels, data_name(data))
    chosen = _spread(dataset, asked.samples)
    calibration = _calibration(asked, calibration_of(technology))
    setting = chosen_setting(asked.setting)
    prepared = imperfect_program(program, technology)
    most = affordable(prepared, COPIES) if asked.copies is None else None
    if setting is Setting.TOGETHER and most is not None and most < COPIES:
        log(f"{most} chips a point whose heaters are set together, {COPIES} of others (--copies)")
    questions = Questions(
        sizes=sizes_of(asked, technology),
        effort=_effort(asked),
        seed=asked.seed,
        calibration=calibration,
        setting=setting,
        most_together=most,
        drop=asked.drop,
        factors=asked.factors,
        bits=asked.bits,
    )
    bench = Bench(prepared, host, dict(chosen.inputs), chosen.labels, runner=compiled.runner)
    if questions.sizes.noisy and (without := bench.noise.without):
        log(f"no noise of samples at {len(without)} layers, recurrent or in loops: {without[0]}")
    about = {
        "version": __version__,
        "model": program.name,
        "technology": technology.name,
        "mzis": prepared.mzis,
        "seed": asked.seed,
        "calibration": str(calibration),
        "setting": str(setting),
        "copies": questions.effort.copies,
        "coherence_mm": technology.guide.coherence_mm,
    }
    if directory is None:
        found = characterized(bench, questions, executor=executor, progress=progress)
        return found, numbers(found, about)
    _check_folder(directory)
    with Journal(directory / JOURNAL, _fingerprint(bench)) as journal:
        found = characterized(
            bench, questions, journal=journal, executor=executor, progress=progress
        )
    report = numbers(found, about)
    _write(directory / NUMBERS, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _write(directory / POINTS, points_csv(found))
    _write(directory / DEVICES, devices_csv(found))
    _write(directory / PAGE, page(found, report))
    return found, report


def summary(report: Mapping[str, Any]) -> dict[str, float]:
    """Means of all points at their usual size, by kind; the joint ones last."""
    usual = {row["kind"]: row["mean"] for row in report["points"] if row["factor"] == 1.0}
    kinds = [kind for kind in usual if kind not in JOINT] + [name for name in JOINT]
    return {kind: usual[kind] for kind in kinds if kind in usual}


def _effort(asked: Asked) -> Effort:
    copies = COPIES if asked.copies is None else asked.copies
    return Effort(copies=copies, half_width=asked.half_width, workers=asked.workers)


def _calibration(asked: Asked, usual: Calibration) -> Calibration:
    if asked.calibrate is None:
        return usual
    try:
        return Calibration(asked.calibrate)
    except ValueError:
        words = ", ".join(choice.value for choice in Calibration)
        raise UsageError(f"'{asked.calibrate}' is none of {words}", where="--calibrate") from None


def _spread(dataset: Dataset, most: int) -> Dataset:
    """At most so many rows, evenly spread."""
    if len(dataset) <= most:
        return dataset
    return dataset.take(np.linspace(0, len(dataset) - 1, most).round().astype(int))


def _check_folder(directory: Path) -> None:
    """Raises UsageError for a folder with files that are not of a characterization."""
    if directory.exists() and not directory.is_dir():
        raise UsageError("is a file, not a folder", where=f"-o {directory}")
    ours = {JOURNAL, NUMBERS, POINTS, DEVICES, PAGE}
    if directory.is_dir() and {path.name for path in directory.iterdir()} - ours:
        raise UsageError(
            "holds files that are not of a characterization",
            where=f"-o {directory}",
            hint="name a folder of its own",
        )


def _fingerprint(bench: Bench) -> str:
    """Of everything that a copy's score follows from, but for what the journal's kinds hold."""
    digest = hashlib.sha256(f"{__version__}/{VERSION}".encode())
    for item in bench.chip.layers:
        digest.update(item.layer.name.encode())
        digest.update(np.ascontiguousarray(item.ideal).tobytes())
    digest.update(json.dumps(asdict(bench.chip.technology), default=str).encode())
    digest.update(bench.host.model)
    for name, array in sorted(bench.inputs.items()):
        digest.update(name.encode() + array.tobytes())
    if bench.labels is not None:
        digest.update(bench.labels.tobytes())
    return digest.hexdigest()


def _write(path: Path, content: str) -> None:
    """Under another name first: a file is there as a whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content.encode("utf-8", "replace"))
    os.replace(part, path)
