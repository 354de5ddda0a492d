"""An onnxruntime session that is quiet, small, and answers errors in one line."""

import mmap
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.emulate.batching import plan
from onnx2mzi.errors import InputError
from onnx2mzi.ir import TensorSpec

# onnxruntime's tensor types by the numpy dtype that carries them.
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "string": "object",
    **{name: name for name in ("int8", "int16", "int32", "int64")},
    **{name: name for name in ("uint8", "uint16", "uint32", "uint64", "bool")},
}
_SILENT = 4
# How long one run of a model with loops may take: only then is known whether they end.
LOOP_SECONDS = 60.0
# The operator's name as protobuf writes it.
_LOOP = b'"\x04Loop'
# The newest IR that onnxruntime 1.31 reads. In protobuf the last value of a field counts.
_OLDER_IR = b"\x08\x0d"


class Session:
    """A loaded ONNX model: names, shapes, and runs over many samples.

    `inputs` are those that must be given. Raises InputError if onnxruntime refuses the model.
    """

    def __init__(
        self, model: bytes | str | Path, *, threads: int = 1, optimize: bool = True, where: str = ""
    ) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _SILENT
        # Otherwise floats behind DequantizeLinear are multiplied as integers, nearly.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        source = model if isinstance(model, bytes) else str(model)
        self.where = where or (source if isinstance(source, str) else "")
        try:
            self._session = _load(source, options)
            self._loops = _has_loops(source)
            self.inputs = tuple(_spec(value) for value in self._session.get_inputs())
            self.outputs = tuple(_spec(value) for value in self._session.get_outputs())
        except Exception as error:  # onnxruntime's errors share no base class.
            raise InputError(
                f"onnxruntime refuses the model: {one_line(error)}", where=self.where
            ) from None

    def run(
        self,
        outputs: Sequence[str],
        inputs: Mapping[str, np.ndarray],
        *,
        specs: Sequence[TensorSpec],
        constant: Mapping[str, np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """`outputs` for all samples of `inputs`, whose shapes are `specs`.

        `constant` are inputs that are the same for every sample.
        """
        inputs = {name: np.asarray(array) for name, array in inputs.items()}
        how = plan(specs, inputs)
        inputs = {spec.name: _cast(inputs[spec.name], spec.dtype) for spec in specs}
        parts: list[list[np.ndarray]] = [[] for _ in outputs]
        for chunk in how.chunks(inputs):
            for part, value in zip(
                parts, self._once(outputs, {**(constant or {}), **chunk}), strict=True
            ):
                part.append(value)
        return {name: how.joined(part) for name, part in zip(outputs, parts, strict=True)}

    def _once(self, outputs: Sequence[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        if not outputs:
            return []
        options, timer = self._bounded()
        try:
            values = self._session.run(list(outputs), dict(feed), options)
        except Exception as error:  # As above.
            if options is not None and options.terminate:
                raise InputError(
                    f"a Loop of the model runs for more than {LOOP_SECONDS:g} s",
                    where=self.where,
                    hint="give it a smaller trip count, or inputs with which it ends",
                ) from None
            raise InputError(
                f"onnxruntime cannot run the model: {one_line(error)}", where=self.where
            ) from None
        finally:
            if timer is not None:
                timer.cancel()
        return [_array(value) for value in values]

    def _bounded(self) -> tuple[Any, threading.Timer | None]:
        """Options of a run that ends, and the timer that sees to it; for models with loops."""
        import onnxruntime

        if not self._loops:
            return None, None
        options = onnxruntime.RunOptions()
        options.log_severity_level = _SILENT
        timer = threading.Timer(LOOP_SECONDS, setattr, (options, "terminate", True))
        timer.daemon = True
        timer.start()
        return options, timer


def _has_loops(model: bytes | str) -> bool:
    """Whether the operator's name is in the file."""
    if isinstance(model, bytes):
        return _LOOP in model
    with Path(model).open("rb") as file:
        if not Path(model).stat().st_size:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return data.find(_LOOP) >= 0


def _load(model: bytes | str, options: object) -> Any:
    import onnxruntime

    # With a fallback, onnxruntime prints before it raises.
    how: dict[str, Any] = {"providers": ["CPUExecutionProvider"], "enable_fallback": 0}
    try:
        return onnxruntime.InferenceSession(model, options, **how)
    except Exception as error:
        if "Unsupported model IR version" not in str(error):
            raise
        data = Path(model).read_bytes() if isinstance(model, str) else model
        return onnxruntime.InferenceSession(data + _OLDER_IR, options, **how)


def _spec(value: Any) -> TensorSpec:
    match = re.fullmatch(r"tensor\((\w+)\)", value.type)
    if match is None:
        return TensorSpec(value.name, "object", ())
    shape = tuple(None if d in (None, "") else d for d in value.shape or ())
    return TensorSpec(value.name, _DTYPES.get(match[1], match[1]), shape)


def _cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Floats of another width are cast; onnxruntime refuses all other differences."""
    floats = array.dtype.kind == "f" and dtype in ("float16", "float32", "float64")
    return array.astype(dtype, copy=False) if floats else array


def _array(value: object) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    values = value if isinstance(value, list) else [value]
    array = np.empty(len(values), object)
    array[:] = values
    return array


def one_line(error: Exception) -> str:
    """onnxruntime's message without its codes, source lines and line breaks."""
    text = " ".join(str(error).split())
    text = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"^/\S+\.cc:\d+ .*?\) (?=[A-Z])", "", text)
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    return text[:400] or type(error).__name__
