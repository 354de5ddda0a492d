"""What a second metal adds: its design rules, and nets that go through vias."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from onnx2mzi.tech import Layer, Technology

# (name, text, how to find where it is broken).
MetalRule = tuple[str, str, Any]


def second_metal(technology: Technology) -> tuple[Layer, Layer] | None:
    """The layers of the second metal and of its vias, where the process has both."""
    metal2, via = technology.layers.metal2, technology.layers.via
    return None if metal2 is None or via is None else (metal2, via)


def metal_rules(
    technology: Technology, metal: Any, metal2: Any, via: Any, outline: Any, dbu: float
) -> Iterator[MetalRule]:
    """Rules of merged regions: vias by their size, space and what encloses them.

    The second metal keeps the widths and spaces of the first. A pad has one large via.
    """
    db_region = type(via)
    rules = technology.rules
    metrics = (False, db_region.Projection)

    def steps(length_um: float) -> int:
        return round(length_um / dbu)

    yield (
        "metal2.width",
        f"second metal narrower than {rules.metal_width_um} um",
        partial(metal2.width_check, steps(rules.metal_width_um), *metrics),
    )
    yield (
        "metal2.space",
        f"second metal closer than {rules.metal_space_um} um",
        partial(metal2.space_check, steps(rules.metal_space_um), *metrics),
    )
    yield "metal2.outline", "second metal beyond the die's outline", lambda: metal2 - outline
    if rules.via_size_um is not None:
        yield (
            "via.width",
            f"a via narrower than {rules.via_size_um} um",
            partial(via.width_check, steps(rules.via_size_um), *metrics),
        )
        yield (
            "via.space",
            f"vias closer than {rules.via_space_um} um",
            partial(via.space_check, steps(rules.via_space_um), False, db_region.Euclidian),
        )
    around = via.sized(steps(rules.via_enclosure_um))
    for name, enclosing in (("metal", metal), ("metal2", metal2)):
        yield (
            f"via.{name}.enclosure",
            f"less than {rules.via_enclosure_um} um of {name} around a via",
            partial(lambda other: around - other, enclosing),
        )
    one = max(1, steps(technology.grid_um))
    for name, shapes in (("metal2", metal2), ("via", via)):
        yield (
            f"{name}.grid",
            f"{name} off the grid of {technology.grid_um} um",
            partial(shapes.grid_check, one, one),
        )
