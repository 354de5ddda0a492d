"""Output folders: whole or not at all, and nothing of others is lost."""

import json
import os
from pathlib import Path

import pytest

from onnx2mzi.driver.output import (
    check_target,
    need_manifest,
    read_manifest,
    sha256,
    staged,
    write_manifest,
)
from onnx2mzi.errors import InputError, UsageError


def make(directory: Path, files: dict[str, str], *, force: bool = False) -> None:
    with staged(directory, force=force) as stage:
        assert stage.parent == directory.parent.resolve()
        for name, text in files.items():
            (stage / name).write_text(text)
        write_manifest(stage, {"seed": 0})


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    with staged(target) as stage:
        (stage / "a.txt").write_text("a")
        assert not target.exists()
    assert names(tmp_path) == {"chip"}
    assert names(target) == {"a.txt"}
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o777 & ~mask


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupt_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), staged(tmp_path / "deep" / "er" / "chip") as stage:
        (stage / "a.txt").write_text("a")
        raise error
    assert names(tmp_path) == set()


def test_an_interrupt_leaves_the_old_folder(tmp_path: Path) -> None:
    make(tmp_path / "chip", {"a.txt": "old"})
    with pytest.raises(KeyboardInterrupt), staged(tmp_path / "chip") as stage:
        (stage / "a.txt").write_text("new")
        raise KeyboardInterrupt
    assert (tmp_path / "chip" / "a.txt").read_text() == "old"
    assert names(tmp_path) == {"chip"}


def test_our_folder_is_replaced_and_what_others_put_there_stays(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    make(target, {"a.txt": "old", "b.txt": "old"})
    (target / "notes.md").write_text("mine")
    (target / "sub").mkdir()
    (target / "sub" / "more.md").write_text("mine")
    make(target, {"a.txt": "new"})
    assert names(target) == {"a.txt", "manifest.json", "notes.md", "sub"}
    assert (target / "a.txt").read_text() == "new"
    assert (target / "sub" / "more.md").read_text() == "mine"
    assert names(tmp_path) == {"chip"}


def test_a_file_of_others_with_our_name_is_called_otherwise(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    make(target, {"a.txt": "old"})
    for mine in ("first", "second"):
        (target / "b.txt").write_text(mine)
        make(target, {"a.txt": "new", "b.txt": "new"})
        assert (target / "b.txt").read_text() == "new"
        make(target, {"a.txt": "new"})
    assert (target / "b.txt.before").read_text() == "first"
    assert (target / "b.txt.before.before").read_text() == "second"


def test_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    target.mkdir()
    check_target(target, force=False)
    (target / "thesis.tex").write_text("mine")
    (target / "manifest.json").write_text('{"tool": "another"}')
    with pytest.raises(UsageError) as caught:
        make(target, {"a.txt": "new"})
    assert str(caught.value) == (
        f"-o {target}: is not empty, and onnx2mzi did not make it "
        "(name another folder, or write into this one with --force)"
    )
    assert names(target) == {"thesis.tex", "manifest.json"}


def test_force_writes_beside_what_is_there(tmp_path: Path) -> None:
    target = tmp_path / "chip"
    target.mkdir()
    (target / "thesis.tex").write_text("mine")
    (target / "a.txt").write_text("old")
    make(target, {"a.txt": "new"}, force=True)
    assert names(target) == {"a.txt", "manifest.json", "thesis.tex"}
    assert (target / "a.txt").read_text() == "new"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "chip").write_text("")
    for force in (False, True):
        with pytest.raises(UsageError, match="is a file, not a folder"):
            check_target(tmp_path / "chip", force=force)


def test_the_current_folder_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    for name in (".", ".."):
        with pytest.raises(UsageError, match="is the current folder or holds it"):
            check_target(Path(name), force=True)


def test_a_folder_behind_a_link_stays_behind_it(tmp_path: Path) -> None:
    make(tmp_path / "real", {"a.txt": "old"})
    (tmp_path / "link").symlink_to("real")
    with staged(tmp_path / "link") as stage:
        (stage / "a.txt").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"


def test_the_manifest_hashes_every_other_file(tmp_path: Path) -> None:
    make(tmp_path / "chip", {"b.txt": "b", "a.txt": "a"})
    manifest = json.loads((tmp_path / "chip" / "manifest.json").read_text())
    assert manifest["tool"] == "onnx2mzi"
    assert list(manifest["files"]) == ["a.txt", "b.txt"]
    assert manifest["files"]["a.txt"] == sha256(tmp_path / "chip" / "a.txt")
    assert manifest["files"]["a.txt"].startswith("ca978112ca1b")


@pytest.mark.parametrize("text", ["", "[]", '{"tool": 1}', "\xff"])
def test_what_is_no_manifest_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    assert read_manifest(tmp_path) is None
    with pytest.raises(InputError, match="is no output folder of onnx2mzi"):
        need_manifest(tmp_path)
    with pytest.raises(InputError, match="there is no such folder"):
        need_manifest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": None}, "is damaged: 'files' is no table of files and their hashes"),
        ({"files": ["a.txt"]}, "is damaged: 'files' is no table of files and their hashes"),
        ({"files": {"a.txt": 3}}, "is damaged: 'files' is no table of files and their hashes"),
        ({"emit": None}, "is damaged: 'emit' is no list of back ends"),
        ({"emit": [3]}, "is damaged: 'emit' is no list of back ends"),
        ({"versions": []}, "is damaged: 'versions' is no table"),
        ({"format": 99}, "is of format 99, this onnx2mzi reads format 1"),
        ({"format": None}, "is of format None, this onnx2mzi reads format 1"),
    ],
)
def test_a_manifest_that_is_damaged(tmp_path: Path, change: dict[str, object], said: str) -> None:
    target = tmp_path / "chip"
    make(target, {"a.txt": "old"})
    path = target / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError) as caught:
        need_manifest(target)
    assert str(caught.value) == f"{path}: {said} (compile again)"
    # Nothing is taken for ours that it does not name.
    make(target, {"b.txt": "new"})
    assert ("a.txt" in names(target)) == (not isinstance(change.get("files", {}), dict))


def test_a_manifest_without_files(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"tool": "onnx2mzi", "format": 1}')
    with pytest.raises(InputError, match="is damaged: 'files' is no table"):
        need_manifest(tmp_path)
