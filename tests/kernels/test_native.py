"""The choice between the compiled kernels and numpy."""

import logging
import sys

import pytest

from onnx2mzi import kernels
from onnx2mzi.kernels import native, native_available


def test_numpy_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNX2MZI_KERNELS", "numpy")
    assert not native_available()


def test_a_missing_extension_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ONNX2MZI_KERNELS", raising=False)
    monkeypatch.delattr(kernels, "_native", raising=False)
    monkeypatch.setitem(sys.modules, "onnx2mzi.kernels._native", None)
    native._extension.cache_clear()
    try:
        with caplog.at_level(logging.WARNING, logger="onnx2mzi.kernels"):
            assert not native_available()
            assert not native_available()
        assert [r.message.count("numpy") for r in caplog.records] == [1]
    finally:
        native._extension.cache_clear()


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNX2MZI_KERNELS", "baseline")
    module = native.extension()
    if module is None:
        pytest.skip("the extension is not built")
    assert module.select("baseline") == "baseline"
    with pytest.raises(ValueError, match="buffer"):
        module.isometry(0, 2, 3, 0, *[memoryview(bytearray(8))] * 4)  # type: ignore[arg-type]
