"""Where an interrupted compile leaves what it has finished: `.DIR.resume` beside its output.

The folder is taken up again only by a compile that differs in nothing: its file `key` says of
which it is. A lock on it, which ends with the process, keeps a second compile away.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from onnx2mzi.driver.compile import Model
from onnx2mzi.driver.locks import locked
from onnx2mzi.driver.options import Options, passive_of, pipeline_of
from onnx2mzi.driver.plugins import technology
from onnx2mzi.driver.provenance import about
from onnx2mzi.errors import Onnx2MziError
from onnx2mzi.frontend import check_file
from onnx2mzi.pipeline.kept import Kept
from onnx2mzi.tech import dump_technology

# A compile that is done sooner is as quickly begun anew.
PATIENCE_S = 5.0
_KEY = "key"


def resume_folder(target: Path) -> Path:
    """Where a compile into `target` keeps finished work."""
    resolved = target.resolve()
    return resolved.parent / f".{resolved.name}.resume"


def work_key(model: Model, options: Options) -> str:
    """A hash of everything that decides what a compile makes, and what it makes on the way."""
    if isinstance(model, str | Path):
        # A file that is no model, or too large for one, need not be read to its end.
        check_file(Path(model))
    told = about(model, options, pipeline_of(options))
    told |= {
        "command": "",
        "technology": dump_technology(technology(options.tech)),
        "ports": options.ports,
        "passive": passive_of(options).value,
        "max_drop": options.max_drop,
        "only": list(options.only),
        "exclude": list(options.exclude),
        "input_shapes": {name: list(shape) for name, shape in options.input_shapes.items()},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@contextlib.contextmanager
def keeping(target: Path, key: str, *, resume: bool) -> Iterator[Kept | None]:
    """Finished work of a compile into `target`, and a place for more while the block runs.

    Without `resume`, or if the work is another compile's, what is there goes. It also goes when
    the block ends, whether with a chip or a refusal; an interrupt or a bug leaves it. None while
    another process compiles into `target`.
    """
    folder = resume_folder(target)
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(locked(folder)) if folder.is_dir() else None
        if lock is False:
            yield None
            return
        if lock and not (resume and _same(folder, key)):
            _emptied(folder)
            _write_key(folder, key)

        def made() -> Path | None:
            nonlocal lock
            if lock is None:
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError:
                    lock = False
                else:
                    lock = stack.enter_context(locked(folder))
                if lock:
                    _write_key(folder, key)
            return folder if lock else None

        try:
            yield Kept(made, 0.0 if resume else PATIENCE_S)
        except Onnx2MziError:
            _gone(folder, mine=bool(lock))
            raise
        _gone(folder, mine=bool(lock))


def _same(folder: Path, key: str) -> bool:
    try:
        return (folder / _KEY).read_text(encoding="utf-8") == key
    except (OSError, UnicodeDecodeError):
        return False


def _write_key(folder: Path, key: str) -> None:
    (folder / _KEY).write_text(key, encoding="utf-8")


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _gone(folder: Path, *, mine: bool) -> None:
    if mine:
        shutil.rmtree(folder, ignore_errors=True)
