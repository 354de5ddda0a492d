"""The compiled sampler against numpy: the same chips, whatever draws them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.imperfect import Calibration, How, imperfect_program
from onnx2mzi.ir import Program
from onnx2mzi.kernels import native_available
from onnx2mzi.kernels.native import extension
from onnx2mzi.physics.imperfection import TYPICAL, Imperfections
from onnx2mzi.physics.imperfection_random import normal_row
from onnx2mzi.physics.quantization import CodeLaw, DriveCode
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology

MakeProgram = Callable[..., Program]
TECH = load_technology("cornerstone_si220")
ALL = replace(
    TYPICAL,
    split_shared_rad=0.01,
    split_offset_rad=-0.01,
    split_gradient_rad_mm=0.02,
    gradient_rad_mm2=0.5,
    dead=0.1,
    stuck=0.1,
    bits=DriveCode(6, CodeLaw.VOLTAGE),
)


def engines() -> list[str]:
    module = extension() if native_available() else None
    return list(dict.fromkeys(module.select(x) for x in ("baseline", "avx2", ""))) if module else []


@pytest.mark.parametrize("engine", engines())
@pytest.mark.parametrize("drive", list(Drive))
def test_the_same_chips_as_numpy(
    make_program: MakeProgram, monkeypatch: pytest.MonkeyPatch, engine: str, drive: Drive
) -> None:
    chip = imperfect_program(make_program(5, drive=drive), TECH)
    plain = How(ALL, seed=3, calibration=Calibration.NONE)
    ways = [
        plain,
        replace(plain, trim=False),
        replace(plain, retune=3),
        replace(plain, sizes=TYPICAL.only("fabrication_scale")),
        replace(plain, sizes=Imperfections(gradient_rad_mm2=0.7)),
        replace(plain, sizes=TYPICAL.only("phase_rad", "split_rad", "loss_sigma_db")),
    ]
    for how in ways:
        found = []
        for name in (engine, "numpy"):
            monkeypatch.setenv("ONNX2MZI_KERNELS", name)
            found.append(chip.matrices(how, [0, 4, 2]))
        for one, other in zip(*found, strict=True):
            for layer, matrix in one.items():
                np.testing.assert_allclose(matrix, other[layer], atol=1e-9)


@pytest.mark.parametrize("engine", engines())
def test_the_same_normal_numbers_as_numpy(monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    monkeypatch.setenv("ONNX2MZI_KERNELS", engine)
    module = extension()
    assert module is not None
    for first, count in ((0, 1), (3, 100), (2**40, 4001)):
        found = np.full(count, np.nan)
        module.normals(12345, first, count, found)
        wanted = normal_row(key=12345, first=first, count=count)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_copies_do_not_depend_on_those_drawn_with_them(make_program: MakeProgram) -> None:
    chip = imperfect_program(make_program(4), TECH)
    how = How(ALL, seed=1)
    together = chip.matrices(how, range(5))
    for copy in (0, 3):
        (alone,) = chip.matrices(how, [copy])
        for name, matrix in alone.items():
            assert np.array_equal(matrix, together[copy][name])
