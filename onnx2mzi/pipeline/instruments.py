"""What can watch a pipeline: programs printed or dumped, times, one line a pass."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from onnx2mzi.ir import Program
from onnx2mzi.ir.files import write_mzi
from onnx2mzi.ir.printer import print_program
from onnx2mzi.pipeline.backend import PassRecord
from onnx2mzi.pipeline.manager import Step


@dataclass(slots=True)
class Watcher:
    """An instrument that does nothing; the others change what they need."""

    def before(self, step: Step, program: Program) -> None:
        """Nothing."""

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        """Nothing."""


@dataclass(slots=True)
class PrintAfter(Watcher):
    """Prints the program behind the passes named `names`, behind all if None, to `stream`."""

    stream: TextIO
    names: frozenset[str] | None = None

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        if self.names is None or step.name in self.names:
            self.stream.write(f"// after {step.index + 1}/{step.count}: {step.text}\n")
            self.stream.write(print_program(program)[0])
            self.stream.flush()


@dataclass(slots=True)
class DumpIr(Watcher):
    """Writes `00-import.mzi`, `01-tile.mzi` and so on, with their arrays, into `directory`."""

    directory: Path

    def before(self, step: Step, program: Program) -> None:
        if step.index == 0:
            self._write(0, "import", program)

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        self._write(step.index + 1, step.name, program)

    def _write(self, number: int, name: str, program: Program) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        write_mzi(program, self.directory / f"{number:02d}-{name}.mzi")


@dataclass(slots=True)
class Timing(Watcher):
    """Keeps what each pass took."""

    records: list[PassRecord] = field(default_factory=list)

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        self.records.append(record)

    def table(self) -> str:
        """One line a pass and the sum."""
        rows = [(record.seconds, record.text) for record in self.records]
        rows.append((sum(seconds for seconds, _ in rows), "all passes"))
        return "".join(f"{seconds:9.3f} s  {text}\n" for seconds, text in rows)


@dataclass(slots=True)
class Narrator(Watcher):
    """Says one line behind every pass: what it left on the chip."""

    say: Callable[[str], None]

    def after(self, step: Step, program: Program, record: PassRecord) -> None:
        left = ""
        if record.censuses:
            active = sum(census.phases_active for census in record.censuses.values())
            mzis = sum(census.mzis for census in record.censuses.values())
            left = f": {mzis:,} MZIs, {active:,} active phases"
        self.say(f"{step.index + 1}/{step.count} {step.text}{left} ({record.seconds:.2f} s)")
