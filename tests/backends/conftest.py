"""What tests of layouts share."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Installed = Callable[[str, str], Path]


def find_installed(package: str, file: str) -> Path:
    """A file of a package that need not be imported; skips where there is none."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"needs {package}: pip install --no-deps {package}")
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        pytest.skip(f"{package} has no {file}")
    return path


@pytest.fixture(scope="session")
def installed() -> Installed:
    return find_installed


@pytest.fixture(scope="session")
def submission(installed: Installed) -> ModuleType:
    """cspdk.si220.submission, without the package around it."""
    spec = importlib.util.spec_from_file_location(
        "submission", installed("cspdk", "si220/submission.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
