"""Walks: nothing to walk from, and levels that cannot be trained."""

from dataclasses import dataclass
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.errors import InputError  # noqa: E402
from onnx2mzi.train.methods import TABLE  # noqa: E402
from onnx2mzi.train.methods.base import Task, method  # noqa: E402
from onnx2mzi.train.methods.imp import Imp  # noqa: E402
from onnx2mzi.train.walk import Walk  # noqa: E402


@pytest.mark.parametrize("name", sorted(TABLE))
def test_a_network_without_heaters_stays_one(name: str, make_trainer: Any) -> None:
    trainer = make_trainer()
    trainer.keep(torch.zeros_like(trainer.network.alive))
    walk = Walk(trainer, method(name), Task(epochs=1))
    walk.to(20)
    assert trainer.network.phases_active == 0 and len(walk.points) == 1


@dataclass
class Diverging(Imp):
    """A method whose `fatal`th training diverges."""

    fatal: int = 2
    calls: int = 0

    def shrink(self, trainer: Any, task: Task, keep: int) -> None:
        super().shrink(trainer, task, keep)
        self.calls += 1
        if self.calls == self.fatal:
            with torch.no_grad():
                trainer.network.phase.fill_(torch.nan)
            raise InputError("training on phases diverged")


@pytest.mark.parametrize("first", [None, 60])
def test_a_level_that_diverges_is_not_accepted(first: int | None, make_trainer: Any) -> None:
    trainer = make_trainer()
    told: list[str] = []
    walk = Walk(trainer, Diverging(), Task(epochs=0.5), warned=told.append)
    before = trainer.network.phases_active
    assert walk.within(lambda: True, first)
    assert trainer.network.phases_active == min(point.heaters for point in walk.points) < before
    assert trainer.network.phase.isfinite().all()
    (text,) = told
    assert "diverged" in text


def test_a_first_level_that_diverges_is_an_error(make_trainer: Any) -> None:
    walk = Walk(make_trainer(), Diverging(fatal=1), Task(epochs=0.5))
    with pytest.raises(InputError, match="diverged"):
        walk.within(lambda: True, 60)
