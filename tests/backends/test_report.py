"""The report: honest numbers, one self-contained file, nothing that can be injected."""

import base64
import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.backends.gds.backend import Gds
from onnx2mzi.backends.ir_text import IrText
from onnx2mzi.backends.phases import Form, Phases
from onnx2mzi.backends.report import Report
from onnx2mzi.backends.report import text as say
from onnx2mzi.backends.report.colour import BINS, bin_phase_rad, phase_bin, phase_colour
from onnx2mzi.backends.report.markup import Markup, el, short
from onnx2mzi.backends.report.page import fidelity_sentence, page, saving_sentence
from onnx2mzi.backends.report.picture import tile_picture
from onnx2mzi.backends.report.tiles import heater_phases
from onnx2mzi.emulate.transfer import program_matrices
from onnx2mzi.ir import Loc, MeshTile, Program, Stage
from onnx2mzi.passes.place import place_program
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.pipeline.backend import Emission, Measured, PassRecord
from onnx2mzi.pipeline.census import layer_census
from onnx2mzi.pipeline.summary import report
from onnx2mzi.tech import load_technology

TECHNOLOGY = load_technology("cornerstone_si220")
NASTY = "<script>alert(1)</script>\"'&]]>"


def emission(program: Program, **changes: Any) -> Emission:
    technology = load_technology("cornerstone_si220")
    censuses = {layer.name: layer_census(layer, technology.p_pi_mw) for layer in program.layers}
    meshes = program.stage is not Stage.LINEAR
    return Emission(
        program,
        technology,
        program_matrices(program),
        passes=(PassRecord("canonicalize", 0.1, censuses if meshes else {}),),
        **changes,
    )


class Checker(HTMLParser):
    """Collects tags and text; fails where tags do not nest."""

    ALONE = frozenset({"meta", "br", "col", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def checked(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    return checker


def html_of(made: Emission) -> str:
    return page(made, report(made), tiles_per_layer=2)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), stage=st.sampled_from(Stage))
def test_every_program_gives_a_page_that_needs_nothing_else(
    make_program: Any, seed: int, stage: Stage
) -> None:
    html = html_of(emission(make_program(seed, stage)))
    checker = checked(html)
    assert "script" not in checker.seen
    assert not {"link", "iframe", "object"} & set(checker.seen)
    assert "href" not in {name for name, _ in checker.attributes}
    # The picture of the chip is in the page.
    sources = [str(value) for name, value in checker.attributes if name == "src"]
    assert len(sources) == checker.seen.count("img") <= 1
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in html
    assert "http" not in html.replace("http-equiv", "")


def test_a_placed_chip_is_shown_small(make_program: Any) -> None:
    program = place_program(make_program(1, drive=Drive.ARM_CHOICE), TECHNOLOGY)
    html = html_of(emission(program))
    (source,) = [value for name, value in checked(html).attributes if name == "src"]
    assert source is not None
    picture = base64.b64decode(source.partition(",")[2])
    assert picture.startswith(b"\x89PNG")
    assert len(html) < 300_000
    assert html == html_of(emission(program))
    assert not [n for n, _ in checked(html_of(emission(make_program(1)))).attributes if n == "src"]


def test_names_cannot_inject(make_program: Any) -> None:
    program: Program = make_program(1)
    layer = replace(program.layers[0], name=NASTY, loc=Loc(NASTY, NASTY, NASTY, NASTY))
    nasty = replace(program, name=NASTY, layers=(layer,), history=(NASTY,))
    made = emission(nasty, command=NASTY, measured=Measured(measured_on=NASTY, max_rel_error=1.0))
    checker = checked(html_of(made))
    assert "script" not in checker.seen
    assert checker.text.count(NASTY) >= 6


def test_files_are_the_same_bytes_twice_and_agree(make_program: Any, tmp_path: Path) -> None:
    made = emission(make_program(2, Stage.PLACED))
    contents = []
    for folder in ("a", "b"):
        directory = tmp_path / folder
        directory.mkdir()
        names = Report().write(made, directory)
        assert names == ("report.json", "layers.csv", "report.html")
        contents.append([(directory / name).read_bytes() for name in names])
    assert contents[0] == contents[1]
    numbers = json.loads(contents[0][0])
    assert numbers == report(made)
    with (tmp_path / "a" / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(row) for row in numbers["layers"]]
    for row, layer in zip(rows, numbers["layers"], strict=True):
        for key, value in layer.items():
            if isinstance(value, float):
                assert float(row[key]) == value
            else:
                assert row[key] == ("" if value is None else str(value))


def test_the_page_says_the_totals(make_program: Any) -> None:
    measured = Measured(1e-3, 0.02, 0.975, 0.972, samples=1234, measured_on="digits_test.npz")
    made = emission(make_program(2), measured=measured)
    numbers = report(made)
    checker = checked(html_of(made))
    assert saving_sentence(numbers) in checker.text
    assert f"{numbers['phases_active']:,} of {numbers['phases_reference']:,}" in checker.text
    assert (
        "Accuracy 97.50 % → 97.20 % (−0.30 points) on digits_test.npz."
        " Outputs differ from the ONNX model by at most 0.02 of the largest output."
    ) in checker.text
    for layer in numbers["layers"]:
        assert layer["name"] in checker.text


def test_what_was_not_measured_is_not_claimed(make_program: Any) -> None:
    numbers = report(emission(make_program(2)))
    assert fidelity_sentence(numbers) == "The chip was not compared with the model."
    same = report(emission(make_program(2), measured=Measured(1e-9, 1e-7)))
    assert "computes the same function" in fidelity_sentence(same)


def test_tiles_that_are_not_drawn_are_counted(make_program: Any) -> None:
    made = emission(make_program(2))
    tiles = [len(grid.tiles) for layer in made.program.layers for grid in layer.grids]
    text = checked(page(made, report(made), tiles_per_layer=1)).text
    assert "1 of" in text
    assert "Tiles at their places" in text
    assert "Tiles at their places" not in checked(page(made, report(made), tiles_per_layer=9)).text
    assert sum(tiles) > len(made.program.layers)
    assert checked(page(made, report(made), tiles_per_layer=0)).text.count("0 of") == len(
        made.program.layers
    )


# ---- pictures -----------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32 - 1), drive=st.sampled_from(Drive))
def test_a_picture_shows_every_shifter(make_tile: Any, seed: int, drive: Drive) -> None:
    tile: MeshTile = make_tile(np.random.default_rng(seed), 5, 4, drive)
    checker = checked(tile_picture(tile, "t"))
    outs = np.count_nonzero(tile.u.out_state) + np.count_nonzero(tile.v.out_state)
    assert checker.seen.count("rect") == len(tile.u) + len(tile.v) + len(tile.sigma) + outs
    drawn = {value for name, value in checker.attributes if name == "class"}
    states = np.concatenate([tile.u.theta_state, tile.v.theta_state])
    assert ("x" in drawn) == bool((states == 0).any())
    fixed = bool((states == 1).any() or (tile.sigma.state == 1).any())
    assert ("tp" in drawn) == fixed


def test_colours_are_cyclic_and_distinct() -> None:
    assert phase_bin(np.pi) == phase_bin(-np.pi)
    assert phase_colour(np.pi) == phase_colour(-np.pi)
    assert len({phase_colour(bin_phase_rad(k)) for k in range(BINS)}) == BINS
    assert [phase_bin(bin_phase_rad(k)) for k in range(BINS)] == list(range(BINS))


def test_histograms_count_every_heater(make_program: Any) -> None:
    program: Program = make_program(3)
    active = sum(layer_census(layer, 1.0).phases_active for layer in program.layers)
    assert sum(len(phases) for phases in heater_phases(program).values()) == active


def test_the_report_names_the_files_that_are_there(make_program: Any) -> None:
    made = emission(make_program(1))
    alone = page(made, report(made), tiles_per_layer=1)
    assert "every phase in" not in alone
    assert "program.mzi" not in alone
    for table, file in (("csv", "phases.csv"), ("columns", "phases/*.npz")):
        phases = Phases(table=Form(table))
        beside = {"phases": phases.told(made), "ir": IrText().told(made), "gds": Gds().told(made)}
        text = page(replace(made, beside=beside), report(made), tiles_per_layer=1)
        assert f"layers.csv, every phase in {file}, the program itself in program.mzi." in text


# ---- small parts --------------------------------------------------------------------------


def test_markup_escapes_all_but_markup() -> None:
    made = el("p", "a<b", Markup("<i>x</i>"), None, ["&"], class_="q\"'")
    assert made == '<p class="q&quot;&#x27;">a&lt;b<i>x</i>&amp;</p>'
    assert el("path", d="M0 0") == '<path d="M0 0"/>'


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (short(-0.001), "0"),
        (short(2.5), "2.5"),
        (short(100.0), "100"),
        (say.count(None), "—"),
        (say.count(12345), "12,345"),
        (say.plural(1, "crossing"), "1 crossing"),
        (say.percent(0.0512), "5.1 %"),
        (say.percent(1e-6), "< 0.1 %"),
        (say.percent(0.0), "0.0 %"),
        (say.significant(0.0), "0"),
        (say.significant(1234.5), "1,230"),
        (say.significant(0.00123456), "0.00123"),
        (say.significant(1.5e-7), "1.50e-7"),
        (say.significant(2e12), "2.00e12"),
        (say.power(999.0), "999 mW"),
        (say.power(10100.0), "10.1 W"),
        (say.area(5e-4), "500 µm²"),
        (say.area(12.0), "12 mm²"),
        (say.loss(None), "—"),
        (say.points(0.0027), "−0.27 points"),
        (say.points(-0.01), "+1.00 points"),
        (say.points(0.0), "±0.00 points"),
    ],
)
def test_numbers_read_well(made: str, expected: str) -> None:
    assert made == expected
