"""What counts as class scores, and how errors are measured."""

import numpy as np
import pytest

from onnx2mzi.emulate.accuracy import (
    absolute_error,
    accuracy,
    check_labels,
    disagreement,
    relative_error,
    score_output,
)
from onnx2mzi.errors import InputError

SCORES = {"h": np.zeros((3, 1)), "s": np.eye(3), "t": np.ones((3, 3))}


def test_class_scores_are_the_first_float_matrix_of_two_columns() -> None:
    assert score_output(SCORES) == "s"
    assert score_output({"n": np.eye(3, dtype=int), "v": np.ones(3)}) is None


def test_accuracy_and_disagreement() -> None:
    assert accuracy(SCORES, np.array([0, 1, 0])) == pytest.approx(2 / 3)
    assert disagreement(SCORES, {"s": np.eye(3)[[0, 2, 1]]}) == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="2 labels for 3 samples"):
        accuracy(SCORES, np.array([0, 1]))
    with pytest.raises(InputError, match="label 3 of sample 2: 's' has the classes 0 to 2"):
        accuracy(SCORES, np.array([0, 1, 3]))
    with pytest.raises(InputError, match="no output holds class scores"):
        accuracy({"v": np.ones(3)}, np.array([0, 1, 2]))


def test_labels_are_asked_for_nothing_where_there_are_no_classes() -> None:
    check_labels({"v": np.ones(3)}, np.array([-1, 5, 7]))
    check_labels(SCORES, None)
    check_labels(SCORES, np.array([0, 1, 2]))
    with pytest.raises(InputError, match="label -1 of sample 0") as caught:
        check_labels(SCORES, np.array([-1]), where="a.npz")
    assert caught.value.where == "a.npz"


def test_relative_error_is_the_worst_over_outputs() -> None:
    b = {"p": np.array([1.0, -100.0]), "q": np.array([0.5])}
    a = {"p": np.array([2.0, -100.0]), "q": np.array([0.6])}
    assert relative_error(a, b) == pytest.approx(0.2)
    assert absolute_error(a, b) == pytest.approx(1.0)
    assert relative_error(b, b) == absolute_error(b, b) == 0


def test_outputs_that_cannot_be_compared_are_infinitely_far() -> None:
    def error(a: object, b: object) -> float:
        return relative_error({"y": np.asarray(a)}, {"y": np.asarray(b)})

    assert error([1.0], [1.0, 2.0]) == np.inf
    assert error([np.nan, 1.0], [1.0, 1.0]) == np.inf
    assert error([1.0], [0.0]) == np.inf
    assert error(["a"], ["b"]) == np.inf
    assert error([-np.inf, np.nan, 1.0], [-np.inf, np.nan, 1.0]) == 0
    assert error([0.0], [0.0]) == error(["a"], ["a"]) == error([], []) == 0
