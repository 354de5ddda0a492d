"""Output folders: written under another name, renamed when complete, recognised later.

A folder is ours if its manifest.json says so. Files that others put into it are never deleted.
"""

import contextlib
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from onnx2mzi.driver.locks import locked
from onnx2mzi.errors import InputError, UsageError

MANIFEST = "manifest.json"
TOOL = "onnx2mzi"
MANIFEST_FORMAT = 1
_PART = ".part"
# Copied by hand into a folder without a manifest they would be replaced as well.
_PROGRAM = ("program.mzi", "program.npz")


def read_manifest(directory: Path) -> dict[str, Any] | None:
    """The manifest of a folder that we made, None if we did not."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if isinstance(manifest, dict) and manifest.get("tool") == TOOL:
        return manifest
    return None


def need_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a folder that we made. Raises InputError for any other folder."""
    if not directory.is_dir():
        raise InputError(
            "there is no such folder", where=str(directory), hint="give the output folder of a chip"
        )
    manifest = read_manifest(directory)
    if manifest is None:
        raise InputError(
            f"is no output folder of onnx2mzi: it has no {MANIFEST} of ours",
            where=str(directory),
            hint="give the output folder of a chip",
        )
    if problem := _damage(manifest):
        raise InputError(problem, where=str(directory / MANIFEST), hint="compile again")
    return manifest


def _damage(manifest: Mapping[str, Any]) -> str:
    """What is wrong with a manifest of ours; "" if nothing is."""
    files, emit = manifest.get("files"), manifest.get("emit", [])
    if manifest.get("format") != MANIFEST_FORMAT:
        made = manifest.get("format")
        return f"is of format {made!r}, this onnx2mzi reads format {MANIFEST_FORMAT}"
    if not isinstance(files, dict) or not all(isinstance(text, str) for text in files.values()):
        return "is damaged: 'files' is no table of files and their hashes"
    if not isinstance(emit, list) or not all(isinstance(text, str) for text in emit):
        return "is damaged: 'emit' is no list of back ends"
    if not isinstance(manifest.get("versions", {}), dict):
        return "is damaged: 'versions' is no table"
    return ""


def files_of(directory: Path) -> frozenset[Path]:
    """The files that a run of ours made in a folder, its manifest among them; whole paths."""
    manifest = read_manifest(directory)
    if manifest is None:
        return frozenset()
    home, files = directory.resolve(), manifest.get("files")
    names = files if isinstance(files, dict) else {}
    return frozenset({home / MANIFEST, *(home / name for name in names)})


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path, about: Mapping[str, Any]) -> Path:
    """Write manifest.json with `about` and the hash of every other file in the folder."""
    files = {
        path.relative_to(directory).as_posix(): sha256(path)
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
    manifest = {"tool": TOOL, "format": MANIFEST_FORMAT, **about, "files": files}
    path = directory / MANIFEST
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def check_target(directory: Path, *, force: bool) -> None:
    """Raises UsageError if `directory` may not be written."""
    where = f"-o {directory}"
    if directory.exists() and not directory.is_dir():
        raise UsageError("is a file, not a folder", where=where)
    resolved = directory.resolve()
    if Path.cwd().is_relative_to(resolved):
        raise UsageError(
            "is the current folder or holds it", where=where, hint="name a folder of its own"
        )
    for parent in resolved.parents:
        if parent.exists():
            if not parent.is_dir() or not os.access(parent, os.W_OK):
                raise UsageError(f"cannot be made in {parent}", where=where)
            break
    if not directory.is_dir() or force or not any(directory.iterdir()):
        return
    if read_manifest(directory) is None:
        raise UsageError(
            "is not empty, and onnx2mzi did not make it",
            where=where,
            hint="name another folder, or write into this one with --force",
        )


def check_inputs_stay(directory: Path, read: Iterable[tuple[str, object]]) -> None:
    """Raises UsageError if a new chip in `directory` would take the place of what it is made of.

    `read` are inputs in words and the files that they name.
    """
    home = directory.resolve()
    lost = files_of(directory) | {home / name for name in _PROGRAM}
    for what, given in read:
        path = Path(given).resolve() if isinstance(given, (str, Path)) else None
        if path in lost and path.exists():
            raise UsageError(
                f"holds {path.relative_to(home)}, the file of {what}, "
                "which the new chip would replace",
                where=f"-o {directory}",
                hint="name another folder with -o",
            )


@contextlib.contextmanager
def staged(directory: Path, *, force: bool = False) -> Iterator[Path]:
    """A new folder beside `directory` that takes its place when the block ends without error.

    Files of an earlier run go; files that are not ours stay. Where a new one has their name they
    are called NAME.before, or with `force` go. Whatever else happens, an interrupt included,
    `directory` is as it was.
    """
    check_target(directory, force=force)
    target = directory.resolve()
    made = _make_parents(target.parent)
    _sweep(target)
    try:
        with _held_stage(target) as stage:
            stage.chmod(0o777 & ~_umask())
            yield stage
            _swap(stage, target, force=force)
    except BaseException:
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


@contextlib.contextmanager
def _held_stage(target: Path) -> Iterator[Path]:
    while True:
        stage = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_PART, dir=target.parent))
        try:
            with locked(stage) as held:
                # Another process may have swept it away before it was held.
                if held:
                    yield stage
                    return
        except BaseException:
            shutil.rmtree(stage, ignore_errors=True)
            raise


def _sweep(target: Path) -> None:
    """Remove what runs that were killed left half-made: stages that no process holds."""
    for stage in target.parent.glob(f".{glob.escape(target.name)}.*{_PART}"):
        with locked(stage) as idle:
            if idle:
                shutil.rmtree(stage, ignore_errors=True)


def _make_parents(parent: Path) -> list[Path]:
    """Make `parent` and what is above it; the folders made, the deepest first."""
    missing = [path for path in (parent, *parent.parents) if not path.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _swap(stage: Path, target: Path, *, force: bool) -> None:
    if not target.exists():
        stage.rename(target)
        return
    ours = files_of(target)
    foreign = [
        path.relative_to(target)
        for path in target.rglob("*")
        if not path.is_dir() and path not in ours
    ]
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    old.rmdir()
    target.rename(old)
    try:
        stage.rename(target)
    except BaseException:
        old.rename(target)
        raise
    for path in foreign:
        home = target / path
        if home.exists() and force:
            continue
        while home.exists():
            home = home.with_name(f"{home.name}.before")
        home.parent.mkdir(parents=True, exist_ok=True)
        (old / path).rename(home)
    shutil.rmtree(old, ignore_errors=True)
