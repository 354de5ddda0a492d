"""`gds`: the layout as a back end."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx2mzi.backends.gds.files import write_gds
from onnx2mzi.pipeline.backend import Backend, Emission


@dataclass(frozen=True, slots=True)
class Gds(Backend):
    """design.gds with markers, pins and labels; mask.gds with the foundry's layers alone."""

    name: ClassVar[str] = "gds"

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        return write_gds(emission.program, emission.technology, directory)
