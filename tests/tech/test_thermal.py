"""[thermal]: optional, checked, and the layers that heat sees."""

import re

import pytest

from onnx2mzi.errors import InputError
from onnx2mzi.physics.heat_section import p_pi_mw
from onnx2mzi.tech import dump_technology, load_technology, parse_technology

NAME = "cornerstone_si220"


def with_thermal(keys: str) -> str:
    text = dump_technology(load_technology(NAME))
    return re.sub(r"\[thermal\][^\[]*", "", text) + f"\n[thermal]\n{keys}\n"


def test_it_may_be_left_out() -> None:
    plain = parse_technology(with_thermal(""), where="here")
    bare = parse_technology(with_thermal("").replace("[thermal]", ""), where="here")
    assert plain == bare == load_technology(NAME)
    assert plain.thermal_stack.heater_width_um == plain.heater.width_um
    assert not plain.thermal_stack.isolated


def test_it_comes_back_and_isolates() -> None:
    text = with_thermal(
        "box_um = 2.0\nundercut_half_width_um = 10\nundercut_depth_um = 20\n"
        "trench_inner_um = 5\ntrench_outer_um = 10\ntrench_depth_um = 3"
    )
    found = parse_technology(text, where="here")
    assert parse_technology(dump_technology(found), where="again") == found
    stack = found.thermal_stack
    assert stack.box_um == 2.0 and stack.trench is not None and stack.undercut is not None
    assert p_pi_mw(stack=stack) < 0.2 * p_pi_mw(stack=load_technology(NAME).thermal_stack)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ("sink_w_m2k = -1", "outside"),
        ("sinks = 1", "unknown key"),
        ("trench_inner_um = 5", "trenches"),
        ("trench_inner_um = 5\ntrench_outer_um = 4\ntrench_depth_um = 3", "trenches"),
        ("trench_inner_um = 0.1\ntrench_outer_um = 4\ntrench_depth_um = 3", "trenches"),
        ("undercut_depth_um = 5", "undercut"),
        ("undercut_half_width_um = 5\nundercut_depth_um = 700", "undercut"),
    ],
)
def test_what_cannot_be_is_refused(keys: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_technology(with_thermal(keys), where="here")
