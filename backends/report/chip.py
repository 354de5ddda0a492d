"""The section of the page that shows the whole chip."""

from typing import Any

from onnx2mzi.backends.gds.picture import HEAT, scene
from onnx2mzi.backends.gds.raster import COLOURS, chip_pixels
from onnx2mzi.backends.report.markup import Markup, el, joined
from onnx2mzi.backends.report.png import data_uri, indexed_png
from onnx2mzi.pipeline.backend import Emission, placed_mzis

# Pixels of the longer side, as many as fit.
SIDES = (1400, 1000, 700, 400)
MOST_BYTES = 60_000
# Larger chips take too long to draw for a page.
MOST_MZIS = 200_000

Row = dict[str, Any]


def chip_section(emission: Emission) -> Markup | None:
    """A picture of a placed chip, heaters coloured by their power; None where there is none."""
    program, placement = emission.program, emission.program.placement
    if placement is None or placement.technology != emission.technology.name:
        return None
    if not 0 < placed_mzis(program) <= MOST_MZIS:
        return None
    seen = scene(program, emission.technology)
    picture = b""
    for side in SIDES:
        picture = indexed_png(chip_pixels(seen, side), COLOURS)
        if len(picture) <= MOST_BYTES:
            break
    x0, y0, x1, y1 = seen.die or seen.frame
    stops = ", ".join(HEAT)
    scale = el(
        "span",
        style="display:inline-block;width:160px;height:10px;margin:0 8px;"
        f"background:linear-gradient(90deg, {stops})",
    )
    image = el(
        "img",
        src=data_uri(picture),
        alt="layout of the chip",
        style="display:block;margin:auto;max-width:100%;max-height:900px",
    )
    caption = el(
        "figcaption",
        f"{(x1 - x0) / 1000:.2f} × {(y1 - y0) / 1000:.2f} mm; guides red, wires grey, pads yellow;"
        " heaters by power, none",
        scale,
        "that of π",
        class_="note",
    )
    return joined([el("h2", "Chip"), el("figure", caption, image, class_="panel")])
