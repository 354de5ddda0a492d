"""Values of a technology that contradict each other, though each alone is legal."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from onnx2mzi.physics.electric import heater_current_ma
from onnx2mzi.tech.over import over_cells, vias_in_row
from onnx2mzi.tech.technology import CouplerKind, Technology

# A GDS has 16 bits for the number of a layer, as many for its datatype or texttype.
MOST_LAYER = 65535


@dataclass(frozen=True, slots=True)
class Inconsistency:
    """What contradicts, the key to change, and how."""

    section: str
    key: str
    message: str
    hint: str


def inconsistencies(technology: Technology) -> Iterator[Inconsistency]:
    """Every contradiction: drawn sizes below the rules, layers used twice, missing layers."""
    yield from _below_rules(technology)
    yield from _currents(technology)
    yield from _coupler(technology)
    yield from _layer_numbers(technology)
    yield from _layers(technology)
    yield from _dies(technology)
    yield from _thermal(technology)
    yield from _edge(technology)


def _below_rules(tech: Technology) -> Iterator[Inconsistency]:
    rules = tech.rules
    overlap = rules.heater_metal_overlap_um
    for section, key, drawn, rule, smallest in (
        ("guide", "width_um", tech.guide.width_um, "core_width_um", rules.core_width_um),
        (
            "guide",
            "bend_radius_um",
            tech.guide.bend_radius_um,
            "bend_radius_um",
            rules.bend_radius_um,
        ),
        ("heater", "width_um", tech.heater.width_um, "heater_width_um", rules.heater_width_um),
        (
            "heater",
            "contact_length_um",
            tech.heater.contact_length_um,
            "heater_metal_overlap_um",
            overlap,
        ),
        (
            "heater",
            "contact_width_um",
            tech.heater.contact_width_um,
            "heater_metal_overlap_um",
            overlap,
        ),
        ("routing", "track_um", tech.routing.track_um, "metal_width_um", rules.metal_width_um),
        ("routing", "bus_um", tech.routing.bus_um, "metal_width_um", rules.metal_width_um),
    ):
        if drawn < smallest:
            yield Inconsistency(
                section,
                key,
                f"'{key}' = {drawn} is below the rule '{rule}' = {smallest}",
                f"at least {smallest}",
            )
    if tech.pads.size_um + rules.metal_space_um > tech.pads.pitch_um:
        yield Inconsistency(
            "pads",
            "pitch_um",
            f"pads of {tech.pads.size_um} at a pitch of {tech.pads.pitch_um} are closer than the "
            f"rule 'metal_space_um' = {rules.metal_space_um}",
            f"at least {tech.pads.size_um + rules.metal_space_um}",
        )


def _currents(tech: Technology) -> Iterator[Inconsistency]:
    full = float(heater_current_ma(tech.p_pi_mw, ohm=tech.heater.ohm))
    if full > tech.heater.max_ma:
        yield Inconsistency(
            "heater",
            "max_ma",
            f"a phase of pi takes {full:.3g} mA, more than 'max_ma' = {tech.heater.max_ma:g}",
            "see 'p_pi_mw' and 'ohm'",
        )
    carried = tech.routing.track_um * tech.routing.max_ma_per_um
    if full > carried:
        yield Inconsistency(
            "routing",
            "track_um",
            f"a phase of pi takes {full:.3g} mA, and a track carries {carried:.3g} mA",
            f"at least {full / tech.routing.max_ma_per_um:.3g}",
        )


def _coupler(tech: Technology) -> Iterator[Inconsistency]:
    coupler, guide = tech.coupler, tech.guide
    if coupler.kind is CouplerKind.CELL:
        if coupler.fixed is None:
            hint = "gds, cell and ports, or mmi or directional"
            yield Inconsistency("coupler", "kind", "'cell' is a kind with 'gds' only", hint)
        return
    directional = coupler.kind is CouplerKind.DIRECTIONAL
    width = guide.width_um if directional else coupler.taper_width_um
    if coupler.port_gap_um - width < tech.rules.core_space_um - 1e-9:
        smallest = width + tech.rules.core_space_um
        yield Inconsistency(
            "coupler",
            "port_gap_um",
            f"'port_gap_um' = {coupler.port_gap_um} leaves less than the rule "
            f"'core_space_um' = {tech.rules.core_space_um}",
            f"at least {smallest:g}",
        )
    if directional and coupler.taper_length_um != 0:
        yield Inconsistency(
            "coupler", "taper_length_um", "a directional coupler has no tapers", "0"
        )
    if not directional and coupler.port_gap_um + width > coupler.body_width_um + 1e-9:
        yield Inconsistency(
            "coupler",
            "body_width_um",
            f"the ports, {coupler.port_gap_um} apart, do not fit a body of {coupler.body_width_um}",
            f"at least {coupler.port_gap_um + width:g}",
        )


def _layer_numbers(tech: Technology) -> Iterator[Inconsistency]:
    for section in ("layers", "markers", "edge"):
        table = getattr(tech, section)
        for entry in fields(table):
            layer = getattr(table, entry.name)
            if isinstance(layer, tuple) and max(layer) > MOST_LAYER:
                message = f"layer {list(layer)} is none of a GDS"
                yield Inconsistency(section, entry.name, message, f"numbers 0..{MOST_LAYER}")


def _layers(tech: Technology) -> Iterator[Inconsistency]:
    seen: dict[tuple[int, int], str] = {}
    for section in ("layers", "markers"):
        table = getattr(tech, section)
        for entry in fields(table):
            layer = getattr(table, entry.name)
            if layer is None:
                continue
            name = f"{section}.{entry.name}"
            if layer in seen:
                message = f"layer {list(layer)} is already '{seen[layer]}'"
                yield Inconsistency(section, entry.name, message, "give each its own layer")
            seen[layer] = name
    if tech.routing.metals == 2:
        for key in ("metal2", "via"):
            if getattr(tech.layers, key) is None:
                message = f"two metals need a layer '{key}'"
                yield Inconsistency("layers", "", message, "add it, or set metals = 1")
        yield from _two_metals(tech)


def _two_metals(tech: Technology) -> Iterator[Inconsistency]:
    rules, track = tech.rules, tech.routing.track_um
    if rules.via_size_um is None:
        message = "two metals need the rule 'via_size_um'"
        yield Inconsistency("rules", "", message, "add it, or set metals = 1")
    elif vias_in_row(tech) == 0:
        least = rules.via_size_um + 2 * rules.via_enclosure_um
        message = f"a track of {track} has no room for a via of {rules.via_size_um}"
        yield Inconsistency("routing", "track_um", message, f"at least {least:g}")
    least = tech.heater.width_um + 2 * (rules.metal_space_um + rules.metal_width_um)
    if over_cells(tech) and tech.heater.contact_width_um < least:
        yield Inconsistency(
            "heater",
            "contact_width_um",
            f"a lead from a contact of {tech.heater.contact_width_um} runs too close to a heater "
            f"of {tech.heater.width_um}",
            f"at least {least:g}, or set metals = 1",
        )


def _dies(tech: Technology) -> Iterator[Inconsistency]:
    for width, height in tech.die.sizes_um:
        if min(width, height) <= 2 * tech.die.margin_um:
            message = f"a die of {width} x {height} is all margin"
            yield Inconsistency("die", "sizes_um", message, "width and height in um")
    rest = tech.die.top_cell.replace("{name}", "")
    if not rest.isascii() or not tech.die.top_cell:
        yield Inconsistency("die", "top_cell", "not a GDS cell name", 'for example "Cell0_{name}"')
    if "{" in rest or "}" in rest:
        message = "'top_cell' has braces other than {name}"
        yield Inconsistency("die", "top_cell", message, 'for example "Cell0_{name}"')


def _thermal(tech: Technology) -> Iterator[Inconsistency]:
    thermal = tech.thermal
    trench = (thermal.trench_inner_um, thermal.trench_outer_um, thermal.trench_depth_um)
    if any(trench):
        inner, outer, depth = trench
        if not (tech.heater.width_um / 2 <= inner < outer and depth > 0):
            yield Inconsistency(
                "thermal",
                "trench_inner_um",
                f"trenches from {inner} to {outer} um, {depth} um deep, beside heaters "
                f"{tech.heater.width_um} um wide",
                "half the heater's width <= inner < outer, and a depth; or leave all three out",
            )
    half, depth = thermal.undercut_half_width_um, thermal.undercut_depth_um
    if (half > 0) != (depth > 0):
        hint = "give both, or none"
        message = f"an undercut {half} um to either side and {depth} um deep is none"
        yield Inconsistency("thermal", "undercut_depth_um", message, hint)
    if depth >= thermal.substrate_um:
        message = f"an undercut {depth} um deep leaves nothing of {thermal.substrate_um} um"
        yield Inconsistency("thermal", "undercut_depth_um", message, "less than the substrate")


def _edge(tech: Technology) -> Iterator[Inconsistency]:
    edge, rules = tech.edge, tech.rules
    if not edge.drawn:
        return
    if edge.tip_width_um < rules.core_width_um:
        yield Inconsistency(
            "edge",
            "tip_width_um",
            f"'tip_width_um' = {edge.tip_width_um} is below the rule "
            f"'core_width_um' = {rules.core_width_um}",
            f"at least {rules.core_width_um}",
        )
    if edge.pitch_um < 2 * tech.guide.bend_radius_um + rules.guide_gap_um:
        yield Inconsistency(
            "edge",
            "pitch_um",
            f"a loop {edge.pitch_um} um wide has no room for bends of {tech.guide.bend_radius_um}",
            f"at least {2 * tech.guide.bend_radius_um + rules.guide_gap_um:g}",
        )
    for section in ("layers", "markers"):
        table = getattr(tech, section)
        for entry in fields(table):
            if getattr(table, entry.name) == edge.marker:
                message = f"layer {list(edge.marker)} is already '{section}.{entry.name}'"
                yield Inconsistency("edge", "marker", message, "give each its own layer")
