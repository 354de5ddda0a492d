"""Technologies of installed plug-ins."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onnx2mzi.driver.plugins import technology, technology_plugins
from onnx2mzi.errors import UsageError
from onnx2mzi.tech import dump_technology, load_technology

Install = Callable[[str, str, str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(dist, name, code)`: a distribution whose `made` is the technology `name`."""

    def made(dist: str, name: str, code: str) -> None:
        folder = tmp_path / dist
        info = folder / f"{dist}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            f"[onnx2mzi.technologies]\n{name} = {dist}_code:made\n"
        )
        (folder / f"{dist}_code.py").write_text(code)
        monkeypatch.syspath_prepend(str(folder))

    return made


CODE = """
from dataclasses import replace
from onnx2mzi.tech import load_technology
made = replace(load_technology("siepic_ebeam"), name="fab_x")
"""


def test_a_plug_in_brings_a_technology(install: Install) -> None:
    install("fab", "fab_x", CODE)
    install("lazy", "fab_y", "def made():\n    from fab_code import made\n    return made\n")
    assert {"fab_x", "fab_y"} <= set(technology_plugins())
    assert technology("fab_x").name == "fab_x"
    assert technology("fab_y") == technology("fab_x")


def test_two_of_one_name(install: Install) -> None:
    install("rival", "siepic_ebeam", CODE)
    with pytest.raises(UsageError) as caught:
        technology("siepic_ebeam")
    assert caught.value.message == (
        "technology 'siepic_ebeam' is there 2 times: from onnx2mzi and rival"
    )


def test_what_is_no_technology(install: Install) -> None:
    install("odd", "fab_x", "made = 3\n")
    with pytest.raises(UsageError, match="technology 'fab_x' of odd is no Technology"):
        technology("fab_x")


def test_files_and_objects(tmp_path: Path) -> None:
    made = load_technology("generic_two_metal")
    (tmp_path / "own.toml").write_text(dump_technology(made))
    assert technology(tmp_path / "own.toml") == made
    assert technology(made) is made
    assert technology(None) == load_technology("cornerstone_si220")
