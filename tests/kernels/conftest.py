"""Every kernel test runs on numpy and on each instruction set that this machine has."""

import pytest

from onnx2mzi.kernels import native_available
from onnx2mzi.kernels.native import extension


def _engines() -> list[str]:
    module = extension() if native_available() else None
    if module is None:
        return ["numpy"]
    # A limit that this processor cannot reach selects a lower set: test each set once.
    found = dict.fromkeys(module.select(limit) for limit in ("baseline", "avx2", ""))
    return ["numpy", *found]


@pytest.fixture(params=_engines())
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the kernels that run during the test."""
    name: str = request.param
    monkeypatch.setenv("ONNX2MZI_KERNELS", name)
    return name
