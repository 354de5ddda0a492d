"""Guards of the package map: three top-level folders, one import package."""

import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx2mzi
import onnx2mzi.backends
import onnx2mzi.passes

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS: dict[str, Any] = PYPROJECT["tool"]["setuptools"]
PACKAGE_MAP: dict[str, str] = SETUPTOOLS["package-dir"]


def _packages_on_disk() -> set[str]:
    found = set()
    for package, folder in PACKAGE_MAP.items():
        root = ROOT / folder
        # os.walk does not follow links, so onnx2mzi/passes is not seen a second time.
        for path, _, files in os.walk(root):
            if "__init__.py" in files:
                found.add(".".join((package, *Path(path).relative_to(root).parts)))
    return found


def _python(code: str, cwd: Path) -> Any:
    """Run code in a fresh interpreter, away from the checkout; return the JSON it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_declared_packages_are_the_folders_on_disk() -> None:
    declared = SETUPTOOLS["packages"]
    assert len(declared) == len(set(declared))
    assert set(declared) == _packages_on_disk()


def test_every_folder_of_modules_is_a_package() -> None:
    """A folder without __init__.py would work from a checkout and be missing from the wheel."""
    missing = [
        str(Path(path).relative_to(ROOT))
        for folder in PACKAGE_MAP.values()
        for path, _, files in os.walk(ROOT / folder)
        if any(file.endswith(".py") for file in files) and "__init__.py" not in files
    ]
    assert missing == []


def test_only_onnx2mzi_goes_to_the_top_of_a_wheel() -> None:
    assert {name.split(".")[0] for name in SETUPTOOLS["packages"]} == {"onnx2mzi"}
    assert set(SETUPTOOLS["package-data"]) <= set(SETUPTOOLS["packages"])


def test_package_data_matches_files() -> None:
    for package, patterns in SETUPTOOLS["package-data"].items():
        root = max((p for p in PACKAGE_MAP if f"{package}.".startswith(f"{p}.")), key=len)
        folder = ROOT / PACKAGE_MAP[root] / Path(*package.removeprefix(root).split("."))
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package}: nothing matches {pattern}"


def test_links_for_tools_point_at_the_mapped_folders() -> None:
    for package, folder in PACKAGE_MAP.items():
        if package == "onnx2mzi":
            continue
        link = ROOT / "onnx2mzi" / package.rpartition(".")[2]
        if link.is_symlink():
            assert link.resolve() == (ROOT / folder).resolve()
        else:  # a checkout without symlinks leaves a text file
            assert link.read_text(encoding="utf-8") == f"../{folder}"


def test_modules_report_their_public_name() -> None:
    def names(package: ModuleType) -> set[str]:
        return {
            name for _, name, _ in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
        }

    for package in (onnx2mzi.passes, onnx2mzi.backends):
        assert names(package)
        for name in names(package):
            module = importlib.import_module(name)
            assert module.__name__ == name
            for value in vars(module).values():
                if isinstance(value, type):
                    assert not value.__module__.startswith(("passes", "backends")), value


def test_no_stray_name_is_importable_outside_the_checkout(tmp_path: Path) -> None:
    code = (
        "import importlib.util as u, json; print(json.dumps("
        "{n: u.find_spec(n) is not None for n in "
        "['passes', 'backends', 'tests', 'samples', 'onnx2mzi']}))"
    )
    assert _python(code, tmp_path) == {
        "passes": False,
        "backends": False,
        "tests": False,
        "samples": False,
        "onnx2mzi": True,
    }


def test_version_is_said_once(tmp_path: Path) -> None:
    code = (
        "import json, importlib.metadata as m, onnx2mzi; "
        "print(json.dumps([m.version('onnx2mzi'), onnx2mzi.__version__]))"
    )
    assert _python(code, tmp_path) == [PYPROJECT["project"]["version"]] * 2


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """``onnx2mzi --help`` answers at once because nothing big is imported before it is needed."""
    code = (
        "import contextlib, io, json, sys\n"
        "import onnx2mzi.cli\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    onnx2mzi.cli.main(['--help'])\n"
        "heavy = ['numpy', 'scipy', 'onnx', 'onnxruntime', 'gdstk', 'networkx',\n"
        "         'matplotlib', 'klayout', 'torch']\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))\n"
    )
    assert _python(code, tmp_path) == []


def test_readme_has_exactly_two_set_up_commands() -> None:
    """CI runs these lines as they stand, so each must be one line and complete."""
    spec = importlib.util.spec_from_file_location("readme_command", ROOT / ".ci/readme_command.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    commands = module.readme_commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert list(commands) == ["run", "test"]
    for command in commands.values():
        assert command.startswith("python3 -m venv ")
    assert "onnx2mzi samples/digits.onnx -O prune" in commands["run"]
    assert commands["test"].endswith("-m pytest -n auto")
