"""`gds`: the layout as a back end."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from onnx2mzi.backends.gds.files import DESIGN_FILE, write_gds
from onnx2mzi.backends.gds.layer_colours import write_layer_colours
from onnx2mzi.backends.gds.picture import PNG_FILE, scene, write_png, write_svg
from onnx2mzi.emulate.heat_lengths import as_drawn
from onnx2mzi.errors import UsageError
from onnx2mzi.ir import Stage
from onnx2mzi.pipeline.backend import Backend, Emission, chosen_layers
from onnx2mzi.pipeline.base import option


@dataclass(frozen=True, slots=True)
class Gds(Backend):
    """design.gds with markers, pins and labels; mask.gds with the foundry's layers alone;
    design.lyp, KLayout's colours; design.svg, a picture."""

    name: ClassVar[str] = "gds"
    most_mzis: ClassVar[int | None] = 1_000_000
    stage_in: ClassVar[Stage] = Stage.PLACED

    layers: tuple[str, ...] = option((), "layers to draw; all if none is named")
    png: bool = option(False, "design.png as well, a picture through KLayout")

    def check_installed(self) -> None:
        if self.png and find_spec("klayout") is None:
            raise UsageError(
                "a picture needs KLayout's Python module",
                where="--emit gds{png=true}",
                hint='pip install "onnx2mzi[check]", or leave png out',
            )

    def chosen(self) -> tuple[str, ...]:
        return self.layers

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        chosen = chosen_layers(emission.program, self.layers, self.name)
        technology = emission.technology
        files = write_gds(as_drawn(emission.program), technology, directory, chosen)
        colours = write_layer_colours(technology, directory)
        seen = scene(emission.program, technology, chosen)
        files = (*files, colours, write_svg(seen, directory))
        if self.png:
            write_png(directory / DESIGN_FILE, seen, directory / PNG_FILE, directory / colours)
            files = (*files, PNG_FILE)
        return files
