"""How right, and how different, two sets of outputs are."""

from collections.abc import Mapping

import numpy as np

from onnx2mzi.errors import InputError

Arrays = Mapping[str, np.ndarray]


def score_output(outputs: Arrays) -> str | None:
    """The output that holds class scores: the first float matrix with two columns or more."""
    for name, array in outputs.items():
        if array.ndim == 2 and array.shape[1] >= 2 and array.dtype.kind == "f":
            return name
    return None


def top1(outputs: Arrays) -> np.ndarray:
    """The class with the highest score, shape (B,). Raises InputError without class scores."""
    name = score_output(outputs)
    if name is None:
        told = ", ".join(f"'{key}' {list(array.shape)}" for key, array in outputs.items())
        raise InputError(f"no output holds class scores, [samples, classes]: {told}")
    return np.asarray(outputs[name].argmax(axis=1))


def check_labels(outputs: Arrays, labels: np.ndarray | None, where: str = "") -> None:
    """Raises InputError if a label (B,) is none of the classes that the outputs have scores for.

    Outputs without class scores are asked for nothing.
    """
    name = score_output(outputs)
    if name is None or labels is None:
        return
    classes = outputs[name].shape[1]
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise InputError(
            f"label {labels[wrong[0]]} of sample {wrong[0]}: '{name}' has the classes 0 to "
            f"{classes - 1}",
            where=where,
            hint="classes are counted from 0, samples as well",
        )


def check_finite(outputs: Arrays, where: str = "") -> None:
    """Raises InputError if an output is NaN for some sample: nothing could be compared with it."""
    for name, array in outputs.items():
        if array.dtype.kind not in "fc" or array.ndim == 0:
            continue
        bad = np.isnan(array).any(axis=tuple(range(1, array.ndim)))
        if bad.any():
            raise InputError(
                f"the model's output '{name}' is NaN for {int(bad.sum())} of {len(array)} samples",
                where=where,
                hint="are their values in the range that the model was trained for?",
            )


def accuracy(outputs: Arrays, labels: np.ndarray) -> float:
    """The share of samples whose top-1 class is the label (B,). Raises InputError for a label that
    is no class."""
    answers = top1(outputs)
    if answers.shape != labels.shape:
        raise InputError(f"{len(labels)} labels for {len(answers)} samples")
    check_labels(outputs, labels)
    return float(np.mean(answers == labels))


def disagreement(a: Arrays, b: Arrays) -> float:
    """The share of samples whose top-1 class differs."""
    return float(np.mean(top1(a) != top1(b)))


def relative_error(a: Arrays, b: Arrays) -> float:
    """max |a - b| / max |b| of every output, the largest over outputs.

    Infinite if shapes differ, one is not finite where the other is, or other things than
    numbers differ.
    """
    return max((_relative(a[name], b[name]) for name in b), default=0.0)


def absolute_error(a: Arrays, b: Arrays) -> float:
    """max |a - b| over all outputs; infinite as in `relative_error`."""
    return max((_absolute(a[name], b[name]) for name in b), default=0.0)


def _relative(a: np.ndarray, b: np.ndarray) -> float:
    error = _absolute(a, b)
    if error == 0 or not np.isfinite(error):
        return error
    values = np.abs(b[np.isfinite(b)].astype(np.float64))
    scale = float(values.max()) if values.size else 0.0
    return error / scale if scale > 0 else np.inf


def _absolute(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return np.inf
    if a.dtype.kind not in "fiub" or b.dtype.kind not in "fiub":
        return 0.0 if a.tolist() == b.tolist() else np.inf
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    odd = ~finite
    if not np.array_equal(x[odd], y[odd], equal_nan=True):
        return np.inf
    return float(np.abs(x[finite] - y[finite]).max(initial=0.0))
