"""Where channels go in reshapes, against arrays of labels that numpy reshapes."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnx2mzi.frontend.channels import Known, Track, reshaped_track, through
from onnx2mzi.frontend.fold import Constants
from onnx2mzi.frontend.shapes import Shape
from onnx2mzi.frontend.tensors import TensorReader


def labels(shape: tuple[int, ...], track: Track) -> np.ndarray:
    """The channel of every entry."""
    found = track.channels(shape[track.axis])
    assert found is not None
    along = found.reshape(-1, *[1] * (len(shape) - track.axis - 1))
    return np.broadcast_to(along, shape)


def known(**shapes: Shape) -> Known:
    return Known(Constants({}, [], TensorReader("", None)), shapes, {})


@st.composite
def reshapes(draw: Any) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Two shapes of as many entries, and an axis of the first."""
    factors = draw(st.lists(st.sampled_from([1, 2, 2, 3, 5]), min_size=1, max_size=6))

    def cut() -> tuple[int, ...]:
        ends = draw(st.lists(st.integers(0, len(factors)), max_size=4).map(sorted))
        edges = [0, *ends, len(factors)]
        return tuple(math.prod(factors[a:b]) for a, b in pairwise(edges))

    near, far = cut(), cut()
    return near, far, draw(st.integers(0, len(near) - 1))


@settings(max_examples=400)
@given(reshapes(), st.booleans())
def test_a_reshape(case: tuple[tuple[int, ...], tuple[int, ...], int], open_batch: bool) -> None:
    near, far, axis = case
    track = Track(axis, near[axis])
    told: tuple[Shape, Shape] = near, far
    if open_batch and axis and len(far) > 1 and near[0] == far[0]:
        told = (None, *near[1:]), (None, *far[1:])
    found = reshaped_track(track, *told)
    if found is not None:
        assert np.array_equal(labels(near, track).reshape(far), labels(far, found))


@pytest.mark.parametrize(
    ("near", "far", "axis", "found"),
    [
        ((None, 6), (None, 3, 2), 1, None),
        ((None, 3, 2), (None, 6), 1, Track(1, 3, 2)),
        ((None, 3, 2), (None, 6), 2, Track(1, 2)),
        ((None, 3), (None, 3, 1, 1), 1, Track(1, 3)),
        ((None, 3, 1, 1), (None, 3), 1, Track(1, 3)),
        (("N", 3), ("N", 3), 1, Track(1, 3)),
        ((None, 3), (None, None), 1, None),
        ((4, 3), (12,), 1, Track(0, 3)),
        ((None, 3), (None, 1, 3), 1, Track(2, 3)),
        ((None, "C", 3), (None, 3), 1, None),
    ],
)
def test_reshapes_by_hand(near: Shape, far: Shape, axis: int, found: Track | None) -> None:
    count = near[axis]
    assert reshaped_track(Track(axis, count if isinstance(count, int) else 3), near, far) == found


@given(st.permutations(range(3)), st.integers(0, 2), st.booleans())
def test_a_transpose(order: list[int], axis: int, told: bool) -> None:
    shape = (2, 3, 4)
    attributes = {"perm": order} if told else {}
    order = order if told else [2, 1, 0]
    node = helper.make_node("Transpose", ["a"], ["b"])
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    turned = tuple(shape[k] for k in order)
    facts = known(a=shape, b=turned)
    track = Track(axis, shape[axis])
    there = through(track, node, facts, backwards=False)
    assert there is not None
    assert np.array_equal(labels(shape, track).transpose(order), labels(turned, there))
    assert through(there, node, facts, backwards=True) == track


@given(st.sets(st.integers(0, 3), min_size=1, max_size=2), st.booleans(), st.data())
def test_squeeze_and_unsqueeze(axes: set[int], negative: bool, data: st.DataObject) -> None:
    larger = tuple(1 if k in axes else k + 2 for k in range(4))
    smaller = tuple(size for k, size in enumerate(larger) if k not in axes)
    told = [k - 4 if negative else k for k in sorted(axes)]
    axis = data.draw(st.integers(0, len(smaller) - 1))
    track = Track(axis, smaller[axis])
    for op, into, out in (("Unsqueeze", smaller, larger), ("Squeeze", larger, smaller)):
        node = helper.make_node(op, ["a"], ["b"], axes=told)
        facts = known(a=into, b=out)
        squeezed = op == "Squeeze"
        found = through(track, node, facts, backwards=squeezed)
        assert found is not None
        assert np.array_equal(labels(smaller, track).reshape(larger), labels(larger, found))
        assert through(found, node, facts, backwards=not squeezed) == track
        # An axis that is not there on the other side.
        lost = Track(min(axes), 1)
        assert through(lost, node, facts, backwards=not squeezed) is None
