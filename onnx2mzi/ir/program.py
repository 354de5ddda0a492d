"""The whole program: layers for the chip, the host graph around them, and what was done so far."""

from dataclasses import dataclass, field
from enum import StrEnum

from onnx2mzi.ir.layer import LinearLayer
from onnx2mzi.ir.location import Loc
from onnx2mzi.ir.placement import Placement
from onnx2mzi.physics.quantization import DriveCode


class Stage(StrEnum):
    """What form the layers have; each stage has its own verifier."""

    LINEAR = "linear"
    MESH = "mesh"
    PLACED = "placed"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A graph input or output: numpy dtype name and dimensions (a name or None if symbolic)."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True, slots=True)
class Electronic:
    """A node that stays electronic, and why; `linear` unless it is an activation of complex
    values, which no chip of MZIs computes."""

    loc: Loc
    why: str
    linear: bool = True


@dataclass(frozen=True, slots=True)
class Host:
    """The electronic rest of the network, as an ONNX model that onnxruntime runs.

    `model` is the serialised graph in which every photonic weight is a graph input (named by
    the layer's `operand.binding`) and every layer's `operand.source` is also a graph output.
    `inputs` and `outputs` are those of the user's model, in its order.
    """

    model: bytes = field(repr=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    electronic: tuple[Electronic, ...] = field(default=())


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A model on its way to a chip. Immutable; passes return new ones.

    `ports` is the widest tile that the chip offers, `history` the canonical text of every pass
    that ran. `drive_code` is how heaters are driven if phases were quantized.
    """

    name: str
    stage: Stage
    ports: int
    layers: tuple[LinearLayer, ...]
    host: Host | None = None
    placement: Placement | None = None
    history: tuple[str, ...] = field(default=())
    drive_code: DriveCode | None = None

    def __repr__(self) -> str:
        count = len(self.layers)
        return f"Program({self.name}, {self.stage}, ports: {self.ports}, layers: {count})"
