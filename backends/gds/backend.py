"""`gds`: the layout as a back end."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx2mzi.backends.gds.files import write_gds
from onnx2mzi.pipeline.backend import Backend, Emission, chosen_layers
from onnx2mzi.pipeline.base import option


@dataclass(frozen=True, slots=True)
class Gds(Backend):
    """design.gds with markers, pins and labels; mask.gds with the foundry's layers alone."""

    name: ClassVar[str] = "gds"
    most_mzis: ClassVar[int | None] = 1_000_000

    layers: tuple[str, ...] = option((), "layers to draw; all if none is named")

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        chosen = chosen_layers(emission.program, self.layers, self.name)
        return write_gds(emission.program, emission.technology, directory, chosen)
