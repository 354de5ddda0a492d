"""[errors]: optional, checked, and what a typical chip of the technology is."""

import re

import pytest

from onnx2mzi.errors import InputError
from onnx2mzi.physics.imperfection import TYPICAL
from onnx2mzi.tech import dump_technology, load_technology, parse_technology


def with_errors(keys: str) -> str:
    text = dump_technology(load_technology("cornerstone_si220"))
    return re.sub(r"\[errors\][^\[]*", "", text) + f"\n[errors]\n{keys}\n"


def test_without_it_nothing_varies() -> None:
    technology = parse_technology(with_errors(""), where="here")
    assert technology.errors.typical() == TYPICAL
    assert not technology.errors.typical().noisy


def test_sizes_follow_from_what_a_foundry_knows() -> None:
    text = with_errors(
        "phase_gradient_rad_mm2 = 0.3\nsplit_gradient_rad_mm = 0.004\ndriver_bits = 8\n"
        "full_scale_ma = 0.1\nbandwidth_mhz = 1000.0"
    )
    found = parse_technology(text, where="here").errors.typical()
    assert (found.gradient_rad_mm2, found.split_gradient_rad_mm) == (0.3, 0.004)
    assert found.input_noise == pytest.approx(2.255e-3, rel=1e-3)
    assert found.shot_noise == pytest.approx(1.790e-3, rel=1e-3)
    assert found.output_noise == pytest.approx(1.287e-3, rel=1e-3)
    assert found.phase_rad == TYPICAL.phase_rad


@pytest.mark.parametrize(
    ("keys", "told"),
    [("split_gradient_rad_mm = -1", "outside 0..10"), ("driver_bit = 8", "driver_bits")],
)
def test_nonsense_is_refused(keys: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_technology(with_errors(keys), where="here")
    assert told in str(caught.value)
