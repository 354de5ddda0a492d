"""Fixed cells in technology files: what is wrong is refused with its line."""

from pathlib import Path

import gdstk
import pytest

from onnx2mzi.errors import InputError
from onnx2mzi.tech import Technology, dump_technology, load_technology, parse_technology
from onnx2mzi.tech.fixed import CellMask, Direction

HEAD = """gds = "cells/fab.gds"
cell = "MMI"
path_um = 20.0
excess_bar_db = 0.2
excess_cross_db = 0.2

[coupler.ports]
i0 = [0, 1.0, "west"]
i1 = [0, -1.0, "west"]
o0 = [20, 1.0, "east"]
o1 = [20, -1.0, "east"]
"""


@pytest.fixture
def text(tmp_path: Path) -> str:
    """A technology whose coupler is a cell of `cells/fab.gds`."""
    cell, library = gdstk.Cell("MMI"), gdstk.Library("fab", 1e-6, 1e-9)
    for x0, x1, y0, y1 in ((0, 5, 0.75, 1.25), (0, 5, -1.25, -0.75), (5, 15, -2, 2)):
        cell.add(gdstk.rectangle((x0, y0), (x1, y1), layer=1))
    cell.add(gdstk.rectangle((15, 0.75), (20, 1.25), layer=1))
    cell.add(gdstk.rectangle((15, -1.25), (20, -0.75), layer=1))
    library.add(cell, gdstk.Cell("EMPTY"))
    (tmp_path / "cells").mkdir()
    library.write_gds(tmp_path / "cells" / "fab.gds")
    (tmp_path / "cells" / "no.gds").write_text("no GDS")
    whole = (tmp_path / "cells" / "fab.gds").read_bytes()
    (tmp_path / "cells" / "half.gds").write_bytes(whole[: len(whole) // 2])
    shipped = dump_technology(load_technology("generic_two_metal"))
    start, end = shipped.index("[coupler]"), shipped.index("[crossing]")
    return f"{shipped[:start]}[coupler]\n{HEAD}\n{shipped[end:]}"


def parsed(text: str, folder: Path) -> Technology:
    (folder / "x.toml").write_text(text, encoding="utf-8")
    return load_technology(folder / "x.toml")


def test_a_cell_is_read_beside_the_file_and_kept(text: str, tmp_path: Path) -> None:
    technology = parsed(text, tmp_path)
    coupler = technology.coupler
    assert coupler.fixed is technology.fixed_cells["coupler"]
    assert coupler.fixed is not None
    assert (coupler.length_um, coupler.port_gap_um, coupler.body_width_um) == (20, 2, 4)
    assert coupler.fixed.mask is CellMask.LAYERS
    assert coupler.fixed.port("o1").direction is Direction.EAST
    (tmp_path / "cells" / "fab.gds").unlink()
    assert parse_technology(dump_technology(technology), where="kept") == technology
    with pytest.raises(InputError, match="no file"):
        parse_technology(dump_technology(technology, data=False), where="again", folder=tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("fab.gds", "fib.gds", "gds", "no file"),
        ("fab.gds", "no.gds", "gds", "is no GDS file"),
        ("fab.gds", "half.gds", "gds", "cannot be read"),
        ('cell = "MMI"', 'cell = "MMY"', "cell", "has no cell 'MMY' (did you mean 'MMI'?)"),
        ('cell = "MMI"', 'cell = "EMPTY"', "cell", "is empty"),
        ('cell = "MMI"\n', "", "[coupler]", "'cell' must be a text"),
        ("i0 = [0, 1.0", "i0 = [1, 1.0", "i0", "is not on the cell's west edge"),
        ("i0 = [0, 1.0", "i0 = [0, 1.0004", "i0", "off the grid"),
        ("i0 = [0, 1.0", "i0 = [0, 1.1", "o0", "are 0.1 um apart in height"),
        ('i0 = [0, 1.0, "west"]', 'i0 = [0, 1.0, "east"]', "i0", "looks east"),
        ('i0 = [0, 1.0, "west"]', 'i0 = [0, 1.0, "left"]', "i0", '"west" or "east"'),
        ('i0 = [0, 1.0, "west"]', "i0 = [0, 1.0]", "i0", "[x, y, direction]"),
        ('i0 = [0, 1.0, "west"]', 'i0 = ["a", 1.0, "west"]', "i0", "no place in um"),
        ('i0 = [0, 1.0, "west"]', 'i0 = [nan, 1.0, "west"]', "i0", "no place in um"),
        ("path_um = 20.0", "path_um = 20.0\ndata = 3", "data", "is not what was written"),
        ("i0 = [0", "in0 = [0", "in0", "unknown port 'in0'"),
        ('i0 = [0, 1.0, "west"]\n', "", "[coupler.ports]", "port 'i0' is missing"),
        ("path_um = 20.0", "path_um = 20.0\nmask = 1", "mask", '"layers" or "box"'),
        ("path_um = 20.0", 'path_um = 20.0\nmask = "box"', "mask", "needs 'box'"),
        ("path_um = 20.0", "path_um = 20.0\nbox = [1]", "box", "is no layer"),
        ("path_um = 20.0", "path_um = 20.0\nlayers = 3", "layers", "a list of layers"),
        ("path_um = 20.0", 'path_um = 20.0\nkind = "mmi"', "kind", "follows from the ports"),
        ("path_um = 20.0\n", "", "[coupler]", "'path_um' is missing"),
        ("width_um = 0.5", "width_um = 0.6", "i0", "is from 0.75 to 1.25, not 0.6 um"),
        ('gds = "cells/fab.gds"\n', "", "cell", "'cell' without 'gds'"),
    ],
)
def test_a_wrong_cell_is_refused_with_its_line(
    text: str, tmp_path: Path, old: str, new: str, at: str, says: str
) -> None:
    assert old in text
    wrong = text.replace(old, new, 1)
    with pytest.raises(InputError) as refused:
        parsed(wrong, tmp_path)
    start = wrong.index("[coupler]")
    before = wrong[:start].count("\n")
    lines = wrong[start:].splitlines()
    line = before + next(k for k, one in enumerate(lines, 1) if one.startswith(at))
    assert says in str(refused.value)
    assert refused.value.where == f"{tmp_path / 'x.toml'}:{line}"
    assert refused.value.hint


def test_upper_ports_lie_above_lower_ones(text: str, tmp_path: Path) -> None:
    for port in ("i", "o"):
        text = text.replace(f"{port}0 =", "swap =").replace(f"{port}1 =", f"{port}0 =")
        text = text.replace("swap =", f"{port}1 =")
    with pytest.raises(InputError, match="'i0' is not above 'i1'"):
        parsed(text, tmp_path)


def test_a_kind_that_needs_a_cell(tmp_path: Path) -> None:
    shipped = dump_technology(load_technology("generic_two_metal"))
    with pytest.raises(InputError, match="with 'gds' only"):
        parsed(shipped.replace('kind = "mmi"', 'kind = "cell"'), tmp_path)
    with pytest.raises(InputError, match="is not what was written"):
        parsed(
            shipped.replace("[crossing]", '[crossing]\ngds = "a"\ncell = "b"\ndata = "c"').replace(
                'kind = "crossing"\nlength_um = 8.0\nwaist_um = 1.4\n', ""
            ),
            tmp_path,
        )


def crossing(folder: Path, ports: str) -> str:
    cell, library = gdstk.Cell("X"), gdstk.Library("fab", 1e-6, 1e-9)
    cell.add(gdstk.rectangle((-4, -0.25), (4, 0.25), layer=1))
    cell.add(gdstk.rectangle((-0.25, -4), (0.25, 4), layer=1))
    library.add(cell)
    library.write_gds(folder / "x.gds")
    shipped = dump_technology(load_technology("generic_two_metal"))
    start, end = shipped.index("[crossing]"), shipped.index("[heater]")
    keys = f'gds = "x.gds"\ncell = "X"\nloss_db = 0.1\ncrosstalk_db = -40\nports = {{ {ports} }}'
    return f"{shipped[:start]}[crossing]\n{keys}\n\n{shipped[end:]}"


PLUS = 'i0 = [-4, 0, "west"], i1 = [0, -4, "south"], o0 = [0, 4, "north"], o1 = [4, 0, "east"]'


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("i1 = [0, -4", "i1 = [1, -4", "'i1' and 'o0' are 1 um apart in x"),
        ("[0, 4,", "[0, 3.5,", "is not on the cell's north edge"),
        ('"south"', '"west"', "looks west"),
    ],
)
def test_guides_of_a_crossing_meet_in_its_middle(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert parsed(crossing(tmp_path, PLUS), tmp_path).crossing.length_um == 8
    with pytest.raises(InputError, match=says):
        parsed(crossing(tmp_path, PLUS.replace(old, new)), tmp_path)


def test_heaters_and_pads(tmp_path: Path) -> None:
    heater, pad = gdstk.Cell("H"), gdstk.Cell("P")
    heater.add(gdstk.rectangle((0, -5), (100, 5), layer=47))
    pad.add(gdstk.rectangle((0, 0), (60, 60), layer=41))
    library = gdstk.Library("fab", 1e-6, 1e-9)
    library.add(heater, pad)
    library.write_gds(tmp_path / "x.gds")
    text = dump_technology(load_technology("generic_two_metal"))
    wires = 'ports = { i = [0, 0, "west"], o = [100, 0, "east"], '
    wires += 'p = [0, 0, "west"], n = [100, 0, "east"] }'
    text = text.replace("length_um = 200.0\n", f'gds = "x.gds"\ncell = "H"\n{wires}\n')
    text = text.replace(
        "size_um = 80.0\n", 'gds = "x.gds"\ncell = "P"\nports = { p = [30, 30, "north"] }\n'
    )
    technology = parsed(text, tmp_path)
    assert technology.heater.section_um == 100
    assert technology.heater.length_um == 80
    assert technology.pads.size_um == 60
    assert set(technology.fixed_cells) == {"heater", "pads"}
    for old, new, says in (
        ("p = [30, 30", "p = [30, 31", "'p' is not the middle"),
        ("n = [100, 0", "n = [100, 1", "'i' and 'n' are 1 um apart"),
        ("o = [100, 0", "o = [99.999, 0", "not on the cell's east edge"),
    ):
        with pytest.raises(InputError, match=says):
            parsed(text.replace(old, new), tmp_path)
