"""Technology files: what ships loads, what is wrong is refused with its line."""

from pathlib import Path

import pytest

from onnx2mzi.errors import InputError, UsageError
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import (
    DEFAULT_TECHNOLOGY,
    Detection,
    dump_technology,
    load_technology,
    parse_technology,
    technology_names,
)


def shipped() -> str:
    return dump_technology(load_technology("generic_two_metal"))


def line_of(text: str, start: str) -> int:
    return next(k for k, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def test_three_technologies_ship_and_the_default_is_one_of_them() -> None:
    assert technology_names() == ("cornerstone_si220", "generic_two_metal", "siepic_ebeam")
    assert DEFAULT_TECHNOLOGY in technology_names()


@pytest.mark.parametrize("name", technology_names())
def test_a_shipped_technology_survives_dump_and_parse(name: str) -> None:
    technology = load_technology(name)
    assert technology.name == name
    assert parse_technology(dump_technology(technology), where=name) == technology


def test_the_default_is_arm_choice_with_coherent_detection_of_both_quadratures() -> None:
    technology = load_technology(DEFAULT_TECHNOLOGY)
    assert technology.drive is Drive.ARM_CHOICE
    assert technology.detection is Detection.IQ
    assert technology.p_pi_mw == technology.heater.p_pi_mw == 30


def test_a_path_is_a_technology_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(shipped().replace('name = "generic_two_metal"', 'name = "mine"'))
    assert load_technology(file).name == "mine"
    assert load_technology(str(file)).name == "mine"


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="did you mean 'siepic_ebeam'"):
        load_technology("siepic_ebem")


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("neff = ", "nef = ", "nef", "did you mean 'neff'"),
        ("neff = 2.44", 'neff = "a"', "neff", "'neff' must be a number"),
        ("neff = 2.44", "neff = true", "neff", "'neff' must be a number"),
        ("neff = 2.44", "neff = nan", "neff", "'neff' must be a number"),
        ("neff = 2.44", "neff = 24.4", "neff", "outside 1..5"),
        ("neff = 2.44\n", "", "[guide]", "'neff' is missing in [guide]"),
        ("[heater]", "[heeter]", "[heeter]", "did you mean 'heater'"),
        ('detection = "iq"', 'detection = "qi"', "detection", 'did you mean "iq"'),
        ('drive = "arm-choice"', "drive = 3", "drive", '"upper-arm" or "arm-choice"'),
        ("core = [1, 0]", "core = [1]", "core = [1]", "[a whole number, a whole number]"),
        ("core = [1, 0]", "core = [1, -1]", "core = [1, -1]", "whole number"),
        (
            "core = [1, 0]",
            "core = [65536, 0]",
            "core = [65536",
            "layer [65536, 0] is none of a GDS",
        ),
        (
            "core = [1, 0]",
            "core = [1, 70000]",
            "core = [1, 7",
            "is none of a GDS (numbers 0..65535",
        ),
        ("pin = [1, ", "pin = [65537, ", "pin = [65537", "is none of a GDS"),
        ('top_cell = "{name}"', 'top_cell = "{foo}"', "top_cell", "braces other than {name}"),
        ('top_cell = "{name}"', 'top_cell = "{name}}"', "top_cell", "braces other than {name}"),
        ("metal2 = [45, 0]", "metal2 = [41, 0]", "metal2", "already 'layers.metal'"),
        ("metal2 = [45, 0]\n", "", "[layers]", "two metals need a layer 'metal2'"),
        ("via_size_um = 0.7\n", "", "[rules]", "two metals need the rule 'via_size_um'"),
        ("via_size_um = 0.7", "via_size_um = 7.0", "track_um", "no room for a via of 7.0"),
        ("contact_width_um = 10.0", "contact_width_um = 8.0", "contact_width_um", "at least 8.5"),
        ("track_um = 8.0", "track_um = 0.5", "track_um", "below the rule 'metal_width_um'"),
        ("pitch_um = 120.0", "pitch_um = 81.0", "pitch_um = 81", "at least 82"),
        ("port_gap_um = 1.25", "port_gap_um = 1.1", "port_gap_um", "core_space_um"),
        ("metals = 2", "metals = 2.5", "metals", "must be a whole number"),
        ("track_um = 8.0", "track_um = 6.0", "track_um", "takes 7.07 mA"),
        ("max_ma = 15.0", "max_ma = 5.0", "max_ma", "takes 7.07 mA"),
        ("sizes_um = [[", "sizes_um = [[1.0], [", "sizes_um", "must be a list"),
        ('name = "generic_two_metal"', 'name = "a b"', "name", "not an identifier"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(old: str, new: str, at: str, says: str) -> None:
    text = shipped()
    assert old in text
    wrong = text.replace(old, new, 1)
    with pytest.raises(InputError) as refused:
        parse_technology(wrong, where="x.toml")
    assert says in str(refused.value)
    assert refused.value.where == f"x.toml:{line_of(wrong, at)}"
    assert refused.value.hint


def test_the_last_layers_of_a_gds_are_layers() -> None:
    text = shipped().replace("core = [1, 0]", "core = [65535, 65535]")
    assert parse_technology(text, where="x.toml").layers.core == (65535, 65535)


def test_a_missing_section_and_broken_toml_are_refused() -> None:
    text = shipped()
    start, end = text.index("[pads]"), text.index("[die]")
    with pytest.raises(InputError, match=r"section \[pads\] is missing"):
        parse_technology(text[:start] + text[end:], where="x.toml")
    with pytest.raises(InputError, match="not TOML"):
        parse_technology(text.replace("[die]", "[die"), where="x.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"not text in UTF-8 \(give a technology's TOML file"):
        load_technology(file)
