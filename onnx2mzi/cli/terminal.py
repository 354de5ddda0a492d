"""Log, progress and colour. Results go to stdout, everything here to stderr."""

import os
import sys
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, TextIO

from onnx2mzi.cli.parser import PROGRAM

# Work that is done sooner has no progress bar.
PATIENCE_S = 2.0

_STYLES = {"good": "32", "bad": "31", "dim": "2", "bold": "1"}


def colored(stream: TextIO, *, no_color: bool) -> bool:
    """Whether to colour: only on a terminal, and not if the user or NO_COLOR says no."""
    return stream.isatty() and not no_color and not os.environ.get("NO_COLOR")


def paint(text: str, style: str, *, color: bool) -> str:
    """`text` in a style (good, bad, dim, bold) if `color`."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if color else text


@dataclass(slots=True)
class Log:
    """Sentences and a progress bar on stderr.

    `level` 0 is quiet, 1 normal, 2 verbose, 3 more. The bar appears on a terminal only, for a
    thing that has been counted for more than two seconds.
    """

    level: int = 1
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    _bar: Any = None
    _task: Any = None
    _what: str = ""
    _since: float = 0.0

    def say(self, message: str) -> None:
        """What a user should know."""
        self._line(message, 1)

    def detail(self, message: str) -> None:
        """What a user sees with -v."""
        self._line(message, 2)

    def more(self, message: str) -> None:
        """What a user sees with -vv."""
        self._line(message, 3)

    def _line(self, message: str, level: int) -> None:
        if self.level < level:
            return
        text = f"{PROGRAM}: {message}"
        if self._bar is None:
            print(text, file=self.stream, flush=True)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def progress(self, what: str, done: int, total: int) -> None:
        """`done` of `total` of a thing are finished.

        What stands before the first comma of `what` is the thing, the rest where the work is:
        "decompose, layer 2/7".
        """
        if self.level < 1 or not self.stream.isatty():
            return
        thing = what.partition(",")[0]
        if thing != self._what:
            self.close()
            self._what, self._since = thing, monotonic()
        if self._bar is None and monotonic() - self._since > PATIENCE_S and done < total:
            self._open(total)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, description=what)
            if done >= total:
                self.close()

    def _open(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress

        columns = (*Progress.get_default_columns(), MofNCompleteColumn())
        self._bar = Progress(*columns, console=Console(file=self.stream), transient=True)
        self._task = self._bar.add_task(self._what, total=total)
        self._bar.start()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._what = None, ""
