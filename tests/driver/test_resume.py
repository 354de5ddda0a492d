"""What --resume keeps and takes up again, and what it sweeps; `test_kills` kills whole compiles."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from onnx2mzi.driver.locks import locked
from onnx2mzi.driver.output import read_manifest, staged
from onnx2mzi.driver.resume import keeping, resume_folder
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Program, identical
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.pipeline.kept import Kept, run_kept


def folder_of(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def test_programs_come_back_bit_by_bit(make_program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    program: Program = make_program(3)
    kept = Kept(lambda: folder_of(tmp_path / "kept"))
    layer = program.layers[0]
    assert kept.layer("step", program, layer) is None
    kept.keep_layer("step", program, layer, layer)
    found = kept.layer("step", program, layer)
    assert found is not None
    assert identical(found, layer)
    assert kept.layer("other", program, layer) is None
    single = replace(program, layers=(layer,))
    assert kept.layer("step", single, layer) is not None
    assert kept.program("step", single) is None
    met = [FrontierPoint("imp", 12, 3.5, None, True), FrontierPoint("imp", 8, 2.5, 0.9, False)]
    kept.keep_program("step", program, program, met)
    again = kept.program("step", program)
    assert again is not None
    assert identical(again, program)
    told: list[FrontierPoint] = []
    again = run_kept(
        lambda given, point: pytest.fail("run again"), "step", program, kept, told.append
    )
    assert again is not program and told == met
    for path in (tmp_path / "kept").glob("*.mzi"):
        path.write_text("mzi")
    assert kept.layer("step", program, layer) is None
    assert kept.program("step", program) is None


def test_quick_work_is_not_kept(make_program, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    program: Program = make_program(3)
    patient = Kept(lambda: folder_of(tmp_path / "kept"), patience_s=1000.0)
    patient.keep_program("step", program, program)
    kept = Kept(lambda: folder_of(tmp_path / "kept"))
    told: list[FrontierPoint] = []
    assert run_kept(lambda given, point: given, "step", program, kept, told.append) is program
    assert not any((tmp_path / "kept").iterdir())


def test_work_of_another_compile_goes(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    with pytest.raises(KeyboardInterrupt), keeping(target, "a", resume=True) as kept:
        assert kept is not None
        assert kept.folder() == resume_folder(target)
        (resume_folder(target) / "work").write_text("x")
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), keeping(target, "a", resume=True):
        assert (resume_folder(target) / "work").exists()
        with keeping(target, "a", resume=True) as second:
            assert second is None
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), keeping(target, "b", resume=True):
        assert not (resume_folder(target) / "work").exists()
        raise KeyboardInterrupt
    with pytest.raises(InputError), keeping(target, "b", resume=True):
        raise InputError("no")
    assert not resume_folder(target).exists()
    with keeping(target, "a", resume=False):
        pass
    assert not any(tmp_path.iterdir())


def test_half_made_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".chip.dead.part", tmp_path / ".chip.alive.part"
    unborn = tmp_path / ".chip.unborn.part"
    unborn.mkdir()
    for path in (dead, alive):
        path.mkdir()
        (path / "phases.csv").write_text("id")
    with locked(alive) as mine:
        assert mine
        with staged(tmp_path / "chip") as stage:
            (stage / "manifest.json").write_text('{"tool": "onnx2mzi"}')
        assert not dead.exists()
        assert not unborn.exists()
        assert alive.exists()
    assert read_manifest(tmp_path / "chip") is not None
    with locked(tmp_path / "nowhere") as mine:
        assert not mine
    assert os.listdir(tmp_path / "chip") == ["manifest.json"]


def test_a_folder_swept_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    @contextlib.contextmanager
    def first_is_lost(folder: Path) -> Iterator[bool]:
        made.append(folder)
        if len(made) == 1:
            folder.rmdir()
        with locked(folder) as held:
            yield held

    monkeypatch.setattr("onnx2mzi.driver.output.locked", first_is_lost)
    with staged(tmp_path / "chip") as stage:
        (stage / "manifest.json").write_text('{"tool": "onnx2mzi"}')
    assert len(made) == 2
    assert os.listdir(tmp_path) == ["chip"]
