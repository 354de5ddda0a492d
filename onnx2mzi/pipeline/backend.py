"""What a back end is: a frozen dataclass that writes files from a finished program."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from onnx2mzi.errors import UsageError
from onnx2mzi.ir import MeshTile, Program, Stage
from onnx2mzi.physics.arrays import Matrix
from onnx2mzi.pipeline.census import Census
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.pipeline.spec import suggestion
from onnx2mzi.tech import Technology


@dataclass(frozen=True, slots=True)
class PassRecord:
    """One pass that ran: its canonical text, its time, and each layer's census behind it.

    `censuses` maps layer names, and is empty before the program has meshes.
    """

    text: str
    seconds: float
    censuses: dict[str, Census]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on the finished chip; None is unknown, never a made-up number.

    `heat` is what `emulate.heat_study` found, with a map.

    `max_abs_error` and `max_rel_error` compare the emulated chip with the original model on
    probe inputs (or the data), over all outputs. Accuracies are fractions; `changed_answers` is
    the share of samples whose top-1 class is another one. `accuracy_fabricated_*` are those of
    chips with static fabrication errors, said in words by `fabricated_on`; `accuracy_retuned_*`
    those of the same kind of chips when all their heaters are set together for known errors, said
    by `retuned_on`. `*_made` and `*_recalibrated` are the one chip of `--measured`, before and
    after its heaters were set for its errors.
    """

    max_abs_error: float | None = None
    max_rel_error: float | None = None
    accuracy_reference: float | None = None
    accuracy: float | None = None
    changed_answers: float | None = None
    samples: int | None = None
    measured_on: str = ""
    accuracy_fabricated_mean: float | None = None
    accuracy_fabricated_std: float | None = None
    accuracy_fabricated_yield: float | None = None
    fabricated_on: str = ""
    heat: Mapping[str, Any] | None = None
    accuracy_retuned_mean: float | None = None
    accuracy_retuned_std: float | None = None
    accuracy_retuned_yield: float | None = None
    retuned_on: str = ""
    accuracy_made: float | None = None
    accuracy_recalibrated: float | None = None
    max_rel_error_made: float | None = None
    max_rel_error_recalibrated: float | None = None
    power_recalibrated_mw: float | None = None


@dataclass(frozen=True, slots=True)
class Emission:
    """Everything that a back end may write from.

    `matrices` are the layers' realised matrices, `reference` and `exact` each layer's census of
    the textbook chip and of the chip after the lossless passes (empty if they did not run).
    `numbers` are those of the report (see `summary.report`) where they are known already;
    `frontier` are the chips that a search met; `beside` is what the back ends that write into
    the same folder tell of their files.
    """

    program: Program
    technology: Technology
    matrices: dict[str, Matrix] = field(repr=False)
    measured: Measured = field(default_factory=Measured)
    passes: tuple[PassRecord, ...] = ()
    reference: dict[str, Census] = field(default_factory=dict)
    exact: dict[str, Census] = field(default_factory=dict)
    command: str = ""
    seconds: float | None = None
    numbers: Mapping[str, Any] | None = None
    frontier: tuple[FrontierPoint, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)


class Backend(ABC):
    """A writer of files. Subclasses are frozen dataclasses; fields are options."""

    name: ClassVar[str]
    # Where nobody asks for this back end by name, chips of more MZIs go without it; None: never.
    most_mzis: ClassVar[int | None] = None
    # What form of program it needs at least.
    stage_in: ClassVar[Stage] = Stage.LINEAR

    @abstractmethod
    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        """Write into the existing `directory`; return the names of the files written."""

    def check_installed(self) -> None:  # noqa: B027 - most need nothing
        """Raises UsageError if a module that its options need is not installed."""

    def chosen(self) -> tuple[str, ...]:
        """Names of the layers that its options choose; () if they choose none."""
        return ()

    def told(self, emission: Emission) -> str:
        """The files that a reader of the report should know of; empty if none."""
        return ""

    def notes(self, emission: Emission) -> Mapping[str, Any]:
        """What the manifest should say of what this back end writes, beside the files' names."""
        return {}


def chosen_layers(program: Program, names: Sequence[str], backend: str) -> frozenset[str]:
    """The names of the layers to write, all if none are named.

    Raises UsageError for a name that no layer has.
    """
    known = [layer.name for layer in program.layers]
    for name in names:
        if name not in known:
            raise UsageError(
                f"there is no layer '{name}'",
                where=f"--emit {backend}",
                hint=suggestion(name, known, "layers"),
            )
    return frozenset(names or known)


def placed_mzis(program: Program) -> int:
    """MZIs and attenuators of all meshes, crossings included: what there is to draw."""
    return sum(
        len(tile.u) + len(tile.v) + len(tile.sigma)
        for layer in program.layers
        for grid in layer.grids
        for tile in grid.tiles
        if isinstance(tile, MeshTile)
    )
