"""The command `onnx2mzi`: arguments, terminal, exit codes. What it does is done by the driver.

Nothing heavy is imported before the arguments are known to be right.
"""

import contextlib
import gc
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType

from onnx2mzi.cli.parser import PROGRAM, parse
from onnx2mzi.errors import Onnx2MziError

# Matrices are as wide as a mesh: threads of the BLAS cost there more than they bring, and their
# number would change the last bits of the results.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

INTERRUPTED = 130
BUG = 1
USAGE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; never raises for what a user can cause."""
    words = list(sys.argv[1:] if argv is None else argv)
    show_traceback = "--traceback" in words
    _forgiving_streams()
    for variable in _ONE_THREAD:
        os.environ.setdefault(variable, "1")
    try:
        with _terminated_as_interrupt():
            return _run(words)
    except Onnx2MziError as error:
        if show_traceback:
            traceback.print_exc()
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        if show_traceback:
            traceback.print_exc()
        sys.stderr.write(f"{PROGRAM}: interrupted; nothing was written\n")
        return INTERRUPTED
    except BrokenPipeError:
        # Somebody read enough (`| head`); what is left must not fail again on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A full disk, a folder that may not be written: the user's to repair, not a bug.
        if show_traceback:
            traceback.print_exc()
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"{PROGRAM}: error: {place}{error.strerror or _one_line(error)}\n")
        return USAGE
    except SystemExit as leaving:  # argparse's --help and --version
        return int(leaving.code or 0)
    except Exception as error:
        if show_traceback:
            traceback.print_exc()
        sys.stderr.write(
            f"{PROGRAM}: internal error: {type(error).__name__}: {_one_line(error)} "
            f"(this is a bug; run again with --traceback and report it)\n"
        )
        return BUG


def _run(words: list[str]) -> int:
    verb, arguments = parse(words)
    if verb == "compile":
        from onnx2mzi.cli.compile import compile_command

        # Millions of shapes and rows live at once, none in a cycle: looking for cycles among
        # them took a tenth of the time of a large chip.
        gc.disable()
        try:
            return compile_command(arguments, words)
        finally:
            gc.enable()
    from onnx2mzi.cli.verbs import COMMANDS

    return COMMANDS[verb](arguments)


def _complain(error: Onnx2MziError) -> None:
    sys.stderr.write(f"{PROGRAM}: error: {_one_line(error)}\n")
    pointer = getattr(error, "pointer", "")
    if pointer:
        sys.stderr.write(f"{pointer}\n")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _forgiving_streams() -> None:
    """A name that the terminal cannot show is escaped, not a crash."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM cleans up as Ctrl-C does. Outside of the main thread signals are left alone."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        old = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
