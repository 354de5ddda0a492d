"""A small problem that every method is tried on: five clusters, two layers, real or complex."""

from typing import Any

import numpy as np
import pytest

from onnx2mzi.train.tiles import near_zero

INPUTS, HIDDEN, CLASSES = 10, 8, 5


def electronics(matrices: Any, inputs: Any, constants: Any = None) -> Any:
    """A layer, an activation, a layer; the modulus is read if they are complex."""
    import torch

    x = inputs["x"]
    w1, w2 = matrices["a"], matrices["b"]
    if w1.is_complex():
        h = torch.nn.functional.softplus((x.to(w1.dtype) @ w1.T).abs())
        return {"y": (h.to(w2.dtype) @ w2.T).abs().square()}
    h = torch.relu(x @ w1.T.to(x.dtype) + constants["bias"])
    return {"y": h @ w2.T.to(x.dtype)}


@pytest.fixture
def make_trainer() -> Any:
    """`make_trainer(real=True, seed=0, **of the Trainer)`: always the same for the same seed."""
    torch: Any = pytest.importorskip("torch")
    from onnx2mzi.train.loop import Settings, Trainer
    from onnx2mzi.train.network import PhaseNetwork
    from onnx2mzi.train.samples import Aim, Samples

    def make(*, real: bool = True, seed: int = 0, **more: Any) -> Any:
        rng = np.random.default_rng(5)
        kind = rng.integers(0, CLASSES, 400)
        centres = 2 * rng.standard_normal((CLASSES, INPUTS))
        x = torch.tensor(centres[kind] + rng.standard_normal((400, INPUTS)), dtype=torch.float32)
        every = Samples({"x": x}, torch.tensor(kind))
        layers = [
            near_zero(name, shape, norm=3.0, real=real, spread_rad=0.3, rng=rng)
            for name, shape in (("a", (HIDDEN, INPUTS)), ("b", (CLASSES, HIDDEN)))
        ]
        biases = {"bias": torch.zeros(HIDDEN)} if real else None
        return Trainer(
            PhaseNetwork(layers, electronics, biases=biases),
            Aim("y", True, False),
            every.take(slice(0, None, 2)),
            every.take(slice(1, None, 2)),
            Settings(lr=0.03, lr_electronic=0.03, batch=50, seed=seed),
            **more,
        )

    return make
