"""What can go wrong, and what the command line answers with.

Every error that a user can cause is an `Onnx2MziError`: a sentence, the place
(file, node, line) and a remedy. Anything else that escapes is a bug of ours.
"""

from typing import Any, ClassVar


class Onnx2MziError(Exception):
    """An error that names its place and its cure.

    `message` says what is wrong in one sentence; `where` is the file, node or
    option; `hint` is what the user can do about it. `exit_code` is what the
    command line returns.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cure = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{cure}"


class UsageError(Onnx2MziError):
    """The command line, a pipeline text or an option is wrong."""

    exit_code = 2


class InputError(Onnx2MziError):
    """The model, the data or a technology file is refused."""

    exit_code = 3


class FitError(Onnx2MziError):
    """The chip does not fit, or `--strict` met a layer that stays electronic."""

    exit_code = 4


class VerificationError(Onnx2MziError):
    """A pass broke its promise, or the compiled chip is not the model."""

    exit_code = 5


class DropError(VerificationError):
    """The chip is sound, but loses more than may be lost. `chip` (a `Compiled`) is it."""

    def __init__(self, message: str, *, where: str = "", hint: str = "", chip: Any = None) -> None:
        super().__init__(message, where=where, hint=hint)
        self.chip = chip


class CheckError(Onnx2MziError):
    """Design rules or layout-versus-schematic failed."""

    exit_code = 6
