"""`ir`: the compiled program as text, with its arrays beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx2mzi.ir.files import write_mzi
from onnx2mzi.pipeline.backend import Backend, Emission


@dataclass(frozen=True, slots=True)
class IrText(Backend):
    """program.mzi and program.npz: the program itself, which onnx2mzi reads back exactly."""

    name: ClassVar[str] = "ir"

    def told(self, emission: Emission) -> str:
        return "program.mzi"

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        written = write_mzi(emission.program, directory / "program.mzi")
        return tuple(path.name for path in written)
