"""Samples as training takes them: inputs, labels where there are any, and what a teacher says."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onnx2mzi.emulate.accuracy import score_output
from onnx2mzi.emulate.data import Dataset
from onnx2mzi.errors import InputError

Outputs = Mapping[str, np.ndarray]
# What stands for the logarithm of a probability of 0.
_FLOOR = 1e-7
# A variance that is less of the mean square is none.
_ROUND_OFF = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Inputs by name, samples along axis 0; class numbers (B,) or None; the teacher's outputs
    (B, ...) or None."""

    inputs: Mapping[str, Tensor]
    labels: Tensor | None = None
    teacher: Tensor | None = None

    def __len__(self) -> int:
        return min((len(x) for x in self.inputs.values()), default=0)

    def take(self, rows: Tensor | slice) -> "Samples":
        """These samples only."""
        return Samples(
            {name: x[rows] for name, x in self.inputs.items()},
            None if self.labels is None else self.labels[rows],
            None if self.teacher is None else self.teacher[rows],
        )

    def to(self, device: str) -> "Samples":
        """The samples on a device."""
        return Samples(
            {name: x.to(device) for name, x in self.inputs.items()},
            None if self.labels is None else self.labels.to(device),
            None if self.teacher is None else self.teacher.to(device),
        )


def tensors(arrays: Outputs) -> dict[str, Tensor]:
    """Arrays by name as tensors, but for words."""
    return {
        name: torch.from_numpy(np.array(x)) for name, x in arrays.items() if x.dtype.kind in "biufc"
    }


def samples(data: Dataset, teacher: Outputs | None, output: str) -> Samples:
    """A data set, and the teacher's `output` on it."""
    return Samples(
        tensors(data.inputs),
        None if data.labels is None else torch.from_numpy(np.array(data.labels, np.int64)),
        None if teacher is None else torch.from_numpy(np.array(teacher[output])),
    )


@dataclass(frozen=True, slots=True)
class Aim:
    """What is trained for: how far `output` is from the teacher's, and from the labels.

    With class scores the loss is `distil` times the cross-entropy to the teacher's probabilities
    at `temperature` (Hinton et al., arXiv 1503.02531) and 1 - distil times that to the labels;
    without labels distil is 1. Other outputs: the square error to the teacher's, relative to
    `variance`, theirs over all samples: that of a batch may be nothing. `probabilities` tells
    that scores are such and not logits.
    """

    output: str
    classes: bool
    probabilities: bool
    distil: float = 0.5
    temperature: float = 2.0
    variance: float = 1.0

    def logits(self, scores: Tensor) -> Tensor:
        """Scores as logits."""
        return torch.log(scores.clamp_min(_FLOOR)) if self.probabilities else scores

    def loss(self, outputs: Mapping[str, Tensor], on: Samples) -> Tensor:
        """The mean loss over samples."""
        found = outputs[self.output]
        if not self.classes:
            if on.teacher is None:
                raise InputError("neither a teacher nor class scores to train for")
            return (found - on.teacher).square().mean() / self.variance
        logits = self.logits(found)
        share = self.distil if on.labels is not None and on.teacher is not None else 1.0
        total: Tensor | None = None
        if on.teacher is not None and share > 0.0:
            t = self.temperature
            soft = F.softmax(self.logits(on.teacher) / t, dim=1)
            total = share * t * t * F.cross_entropy(logits / t, soft)
        if on.labels is not None and (on.teacher is None or share < 1.0):
            hard = F.cross_entropy(logits, on.labels)
            hard = hard if on.teacher is None else (1.0 - share) * hard
            total = hard if total is None else total + hard
        if total is None:
            raise InputError("neither labels nor a teacher to train for")
        return total

    def right(self, outputs: Mapping[str, Tensor], on: Samples) -> Tensor | None:
        """Which answers (B,) are the label, or without labels the teacher's; None if there are
        no answers."""
        if not self.classes:
            return None
        answers = outputs[self.output].argmax(1)
        if on.labels is not None:
            return answers == on.labels
        return None if on.teacher is None else answers == on.teacher.argmax(1)


def aim(outputs: Outputs, *, distil: float = 0.5) -> Aim:
    """What to train for, judged by the teacher's outputs."""
    name = score_output(outputs)
    if name is None:
        numbers = [key for key, value in outputs.items() if value.dtype.kind == "f"]
        if not numbers:
            raise InputError("no output holds numbers that could be trained for")
        return Aim(numbers[0], False, False, distil, variance=_variance(outputs[numbers[0]]))
    scores = np.asarray(outputs[name], np.float64)
    whole = bool((scores >= 0).all() and np.allclose(scores.sum(1), 1.0, atol=1e-3))
    return Aim(name, True, whole, distil)


def _variance(values: np.ndarray) -> float:
    """The variance of values, or of constant ones the mean square; 1 of zeros."""
    wide = np.asarray(values, np.float64)
    variance, square = float(wide.var()), float((wide**2).mean())
    return variance if variance > _ROUND_OFF * square else square or 1.0
