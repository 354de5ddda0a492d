"""Single files: checked before the work, there as a whole or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.driver.one_file import check_file_target, replacing, write_arrays
from onnx2mzi.errors import UsageError


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match=r"may not be written \(name a file elsewhere\)"):
        check_file_target(str(tmp_path / "y.npz"), "-o")


def test_what_is_read_stays(tmp_path: Path) -> None:
    (tmp_path / "x.npz").touch()
    os.link(tmp_path / "x.npz", tmp_path / "same.npz")
    with pytest.raises(UsageError, match="is the file of --data"):
        check_file_target(
            str(tmp_path / "same.npz"), "-o", read=[("--data", str(tmp_path / "x.npz"))]
        )
    read = [("--data", {"x": np.zeros(1)}), ("--test", None), ("--tech", "generic")]
    assert check_file_target(str(tmp_path / "y.npz"), "-o", read=read) == tmp_path / "y.npz"


def test_an_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "y.npz"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_arrays_go_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.npz").write_text("old")
    (tmp_path / "link.npz").symlink_to("real.npz")
    write_arrays(tmp_path / "link.npz", {"y": np.ones(2)}, "-o")
    assert (tmp_path / "link.npz").is_symlink()
    assert np.load(tmp_path / "real.npz")["y"].tolist() == [1.0, 1.0]


def test_a_write_that_fails(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file"):
        write_arrays(tmp_path / "gone" / "y.npz", {}, "-o")
