"""What `import onnx2mzi` gives to scripts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from onnx2mzi.driver.compile import Compiled, Model, compile_model, load
from onnx2mzi.driver.options import DEFAULT_PORTS, Data, Ears, Optimize, Options
from onnx2mzi.driver.plugins import PASSES, register_pass
from onnx2mzi.pipeline import manager
from onnx2mzi.pipeline.base import Pass
from onnx2mzi.pipeline.manager import Instrument
from onnx2mzi.pipeline.presets import DEFAULT_LEVEL
from onnx2mzi.pipeline.registry import Registry
from onnx2mzi.tech import Technology

__all__ = ["Compiled", "Pipeline", "compile", "load", "register_pass"]


class Pipeline(manager.Pipeline):
    """Passes in order; `str()` is the text that `parse` takes back."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str, registry: Registry[Pass] = PASSES) -> "Pipeline":
        """The pipeline that the text names, as `--passes` does: nothing is inserted.

        Raises UsageError, which points at the mistake.
        """
        return cls(registry.parse(text))


def compile(
    model: Model,
    optimize: Optimize = DEFAULT_LEVEL,
    *,
    data: Data | None = None,
    test: Data | None = None,
    measured: str | Path | None = None,
    tech: str | Path | Technology | None = None,
    ports: int = DEFAULT_PORTS,
    mesh: str | None = None,
    passive: str = "common",
    budget: float | None = None,
    max_drop: float | None = None,
    time_limit: float | None = None,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    unroll: Sequence[str] = (),
    broken: Sequence[str] = (),
    strict: bool = False,
    seed: int = 0,
    workers: int = 1,
    log: Callable[[str], None] | None = None,
    instruments: Sequence[Instrument] = (),
) -> Compiled:
    """The chip for an ONNX model (path or bytes). Nothing is written; see `Compiled.save`.

    `optimize` is a level 0..3, passes as text ("prune,quantize{bits=6}") or objects, completed
    with what they need, or a whole Pipeline, run as it is. `data` is for fitting, `test` for
    measuring (.npz paths or dicts of arrays; labels are `y`). `budget` and `max_drop` are
    fractions; training ends `time_limit` seconds after the start. `unroll` names layers (or
    "all") that get a chip for every position. `broken` are ids of heaters (as in phases.csv) that
    do not work. `measured` is a table of a made chip's errors, for
    which its heaters are set. `workers` is the number of tiles at a time, and
    changes nothing else. The chip is emulated and compared
    with the model before it is returned.

    Raises onnx2mzi.errors: UsageError (options), InputError (model, data, technology), FitError
    (`strict`), VerificationError (a pass broke its promise; DropError: `max_drop` is exceeded, and
    `error.chip` is the chip).
    """
    options = Options(
        optimize=optimize,
        data=data,
        test=test,
        measured=measured,
        tech=tech,
        ports=ports,
        mesh=mesh,
        passive=passive,
        budget=budget,
        max_drop=max_drop,
        time_limit=time_limit,
        input_shapes=input_shapes or {},
        only=only,
        exclude=exclude,
        unroll=unroll,
        broken=broken,
        strict=strict,
        seed=seed,
        workers=workers,
    )
    silent = Ears()
    ears = Ears(log=log or silent.log, progress=silent.progress, watch=tuple(instruments))
    return compile_model(model, options, ears)
