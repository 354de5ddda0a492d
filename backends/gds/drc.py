"""Design rules of a technology, checked by KLayout on a GDS file: all violations to a .lyrdb.

Needs the module `klayout` (extra `check`), imported when called.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from onnx2mzi.backends.gds.klayout import klayout_module, read_layout
from onnx2mzi.backends.gds.metals import metal_rules, second_metal
from onnx2mzi.backends.gds.units import Check, outside, uncovered, units, within_chip
from onnx2mzi.tech import Layer, Technology

# Slanted guides are rounded to the grid: both sides move by up to a step.
SLANT_STEPS = 2
# Guides meet at angles; corners sharper than this are no spaces.
IGNORED_ANGLE = 80


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's name, what it demands in words, and how to find where it is broken."""

    name: str
    text: str
    broken: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Violations:
    """How often each rule is broken, and where the first ones are, in um."""

    counts: dict[str, int]
    first: dict[str, tuple[float, float]]

    @property
    def total(self) -> int:
        """All violations."""
        return sum(self.counts.values())


def check_rules(path: Path, technology: Technology, report: Path | None = None) -> Violations:
    """Check the rules on the GDS at `path`; write violations, if any, to `report` (.lyrdb).

    Width and space of core, heater and metals, overlap of heater and metal, size, space and
    enclosure of vias, metal and core within the outline, the grid, and, where the file has pins,
    every pin within a guide.
    What lies within a fixed cell is the foundry's, and not looked at.
    """
    rdb = klayout_module("rdb")
    layout = read_layout(path)
    database = rdb.ReportDatabase("onnx2mzi design rules")
    database.top_cell_name = layout.top_cell().name
    cell = database.create_cell(layout.top_cell().name)
    counts: dict[str, int] = {}
    first: dict[str, tuple[float, float]] = {}
    fixed = _mark_fixed(layout, technology)
    for rule in _rules(layout, technology, fixed):
        category = database.create_category(rule.name)
        category.description = rule.text
        counts[rule.name] = 0
        broken = outside(layout.top_cell(), rule.broken(), fixed)
        for shape in broken.each():
            place = shape.to_dtype(layout.dbu)
            database.create_item(cell, category).add_value(place)
            centre = place.bbox().center()
            first.setdefault(rule.name, (centre.x, centre.y))
            counts[rule.name] += 1
    if report is not None and first:
        database.save(str(report))
    return Violations(counts, first)


def _mark_fixed(layout: Any, technology: Technology) -> int | None:
    """A layer with a box over every fixed cell; slanted sides reach a step beyond themselves."""
    db = klayout_module("db")
    there = [layout.cell(fixed.cell) for fixed in technology.fixed_cells.values()]
    if not any(there):
        return None
    index = int(layout.insert_layer(db.LayerInfo(1500, 0)))
    for cell, fixed in zip(there, technology.fixed_cells.values(), strict=True):
        if cell is not None:
            box = db.DBox(*fixed.box_um).to_itype(layout.dbu)
            cell.shapes(index).insert(box.enlarged(SLANT_STEPS, SLANT_STEPS))
    return index


def _rules(layout: Any, technology: Technology, fixed: int | None) -> Iterator[Rule]:
    db = klayout_module("db")
    top, layers, rules = layout.top_cell(), technology.layers, technology.rules

    def raw(layer: Layer) -> Any:
        found = db.Region(top.begin_shapes_rec(layout.layer(*layer)))
        found.merged_semantics = False
        return found

    def region(layer: Layer) -> Any:
        return raw(layer).merged()

    def steps(length_um: float) -> int:
        return round(length_um / float(layout.dbu))

    # All guides together are costly: only where a rule is not proven to be kept.
    core = cache(partial(region, layers.core))
    heater, metal = region(layers.heater), region(layers.metal)
    outline = region(layers.outline)
    metrics = (False, db.Region.Projection, IGNORED_ANGLE)
    pins = uncovered(layout, technology.markers.pin, layers.core, SLANT_STEPS)
    guides = raw(layers.core)
    # Half of a pin lies behind the end of a guide where the chip ends; cut here, few are left.
    pins &= db.Region(guides.bbox())
    reach_um = max(rules.core_width_um, rules.core_space_um)
    parts = units(layout, layers.core, reach_um, pins, fixed)

    def core_check(check: Check) -> Any:
        return db.EdgePairs() if parts.keep(check) else check(core())

    yield Rule(
        "core.width",
        f"core narrower than {rules.core_width_um} um",
        lambda: core_check(
            lambda shapes: shapes.width_check(steps(rules.core_width_um) - SLANT_STEPS, *metrics)
        ),
    )
    yield Rule(
        "core.space",
        f"core closer than {rules.core_space_um} um",
        lambda: core_check(
            lambda shapes: shapes.space_check(steps(rules.core_space_um) - SLANT_STEPS, *metrics)
        ),
    )
    for name, shapes, width_um, space_um in (
        ("heater", heater, rules.heater_width_um, rules.heater_space_um),
        ("metal", metal, rules.metal_width_um, rules.metal_space_um),
    ):
        yield Rule(
            f"{name}.width",
            f"{name} narrower than {width_um} um",
            partial(shapes.width_check, steps(width_um), *metrics),
        )
        yield Rule(
            f"{name}.space",
            f"{name} closer than {space_um} um",
            partial(shapes.space_check, steps(space_um), *metrics),
        )
    overlap_um = rules.heater_metal_overlap_um
    yield Rule(
        "heater.metal.overlap",
        f"heater and metal overlap by less than {overlap_um} um",
        partial((heater & metal).width_check, steps(overlap_um), *metrics),
    )
    if second := second_metal(technology):
        metal2, via = map(region, second)
        dbu = float(layout.dbu)
        for name, text, broken in metal_rules(technology, metal, metal2, via, outline, dbu):
            yield Rule(name, text, broken)
    yield Rule("metal.outline", "metal beyond the die's outline", lambda: metal - outline)
    # A die is a box: its corners tell.
    boxed = outline.is_box() and guides.bbox().inside(outline.bbox())
    yield Rule(
        "core.outline",
        "guides beyond the die's outline",
        lambda: db.Region() if boxed else core() - outline,
    )
    one = max(1, steps(technology.grid_um))
    for name, shapes in (("core", guides), ("heater", heater), ("metal", metal)):
        yield Rule(
            f"{name}.grid",
            f"{name} off the grid of {technology.grid_um} um",
            partial(shapes.grid_check, one, one),
        )
    yield Rule(
        "pin.guide",
        "an optical pin that is not within a guide: an offset, a step of width or a gap",
        lambda: within_chip(layout, layers.core, pins - parts.near),
    )
