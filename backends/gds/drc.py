"""Design rules of a technology, checked by KLayout on a GDS file: all violations to a .lyrdb.

Needs the module `klayout` (extra `check`), imported when called.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from onnx2mzi.errors import InputError, UsageError
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


def klayout_module(name: str) -> Any:
    """`klayout.db` and the like. Raises UsageError with the remedy where it is not installed."""
    try:
        from importlib import import_module

        return import_module(f"klayout.{name}")
    except ImportError:
        raise UsageError(
            "design rules and the layout's circuit need KLayout's Python module",
            where="check",
            hint='pip install "onnx2mzi[check]", or pip install klayout',
        ) from None


def read_layout(path: Path) -> Any:
    """The `klayout.db.Layout` of a GDS file with one top cell. Raises InputError for others."""
    layout = klayout_module("db").Layout()
    try:
        layout.read(str(path))
        layout.top_cell()
    except RuntimeError as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from None
    if layout.top_cell() is None:
        raise InputError("has no top cell", where=str(path))
    return layout


def check_rules(path: Path, technology: Technology, report: Path | None = None) -> Violations:
    """Check the rules on the GDS at `path`; write violations, if any, to `report` (.lyrdb).

    Width and space of core, heater and metal, overlap of heater and metal, metal and core
    within the outline, the grid, and, where the file has pins, every pin within a guide.
    """
    rdb = klayout_module("rdb")
    layout = read_layout(path)
    database = rdb.ReportDatabase("onnx2mzi design rules")
    database.top_cell_name = layout.top_cell().name
    cell = database.create_cell(layout.top_cell().name)
    counts: dict[str, int] = {}
    first: dict[str, tuple[float, float]] = {}
    for rule in _rules(layout, technology):
        category = database.create_category(rule.name)
        category.description = rule.text
        counts[rule.name] = 0
        for shape in rule.broken().each():
            place = shape.to_dtype(layout.dbu)
            database.create_item(cell, category).add_value(place)
            centre = place.bbox().center()
            first.setdefault(rule.name, (centre.x, centre.y))
            counts[rule.name] += 1
    if report is not None and first:
        database.save(str(report))
    return Violations(counts, first)


def _rules(layout: Any, technology: Technology) -> Iterator[Rule]:
    db = klayout_module("db")
    top, layers, rules = layout.top_cell(), technology.layers, technology.rules

    def region(layer: Layer) -> Any:
        return db.Region(top.begin_shapes_rec(layout.layer(*layer))).merged()

    def steps(length_um: float) -> int:
        return round(length_um / float(layout.dbu))

    core, heater, metal = region(layers.core), region(layers.heater), region(layers.metal)
    outline = region(layers.outline)
    metrics = (False, db.Region.Projection, IGNORED_ANGLE)
    limits = (
        ("core", core, rules.core_width_um, rules.core_space_um, SLANT_STEPS),
        ("heater", heater, rules.heater_width_um, rules.heater_space_um, 0),
        ("metal", metal, rules.metal_width_um, rules.metal_space_um, 0),
    )
    for name, shapes, width_um, space_um, slack in limits:
        yield Rule(
            f"{name}.width",
            f"{name} narrower than {width_um} um",
            partial(shapes.width_check, steps(width_um) - slack, *metrics),
        )
        yield Rule(
            f"{name}.space",
            f"{name} closer than {space_um} um",
            partial(shapes.space_check, steps(space_um) - slack, *metrics),
        )
    overlap_um = rules.heater_metal_overlap_um
    yield Rule(
        "heater.metal.overlap",
        f"heater and metal overlap by less than {overlap_um} um",
        partial((heater & metal).width_check, steps(overlap_um), *metrics),
    )
    yield Rule("metal.outline", "metal beyond the die's outline", lambda: metal - outline)
    yield Rule("core.outline", "guides beyond the die's outline", lambda: core - outline)
    one = max(1, steps(technology.grid_um))
    for name, shapes in (("core", core), ("heater", heater), ("metal", metal)):
        yield Rule(
            f"{name}.grid",
            f"{name} off the grid of {technology.grid_um} um",
            partial(shapes.grid_check, one, one),
        )
    pins = db.Region(top.begin_shapes_rec(layout.layer(*technology.markers.pin)))
    # Half of a pin may lie behind the end of a guide at the die's edge.
    inner = (pins & outline).sized(0, -SLANT_STEPS, 2)
    yield Rule(
        "pin.guide",
        "an optical pin that is not within a guide: an offset, a step of width or a gap",
        # A subtraction: `not_inside` is slow against guides that are all one polygon.
        lambda: inner - core,
    )
