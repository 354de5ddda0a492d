"""How often a layer is used in one inference, from the model's shapes."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import helper

from onnx2mzi.errors import InputError
from onnx2mzi.frontend import import_model

MakeModel = Callable[..., onnx.ModelProto]
NODE = helper.make_node


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).normal(size=shape).astype(np.float32)


WEIGHTS = {
    "a": numbers(4, 3, 3, 3),
    "b": numbers(4, 1, 3, 3),
    "c": numbers(4, 2, 2, 2),
    "d": numbers(2, 5),
    "s": np.array([-1, 2], np.int32),
}
NODES = [
    NODE("Conv", ["x", "a"], ["h1"], name="conv", pads=[1, 1, 1, 1]),
    NODE("Conv", ["h1", "b"], ["h2"], name="dw", group=4, strides=[2, 2], auto_pad="SAME_UPPER"),
    NODE("ConvTranspose", ["h2", "c"], ["h3"], name="up", strides=[2, 2]),
    NODE("Cast", ["s"], ["s64"], to=7),
    NODE("Reshape", ["h3", "s64"], ["h4"]),
    NODE("MatMul", ["h4", "d"], ["y"], name="dense"),
]


def uses(model: onnx.ModelProto, **options: object) -> dict[str, int | None]:
    program = import_model(model, **options)  # type: ignore[arg-type]
    return {layer.name: layer.uses for layer in program.layers}


@pytest.mark.parametrize(("batch", "times"), [("N", 1), (None, 1), (1, 1), (3, 3)])
def test_positions_count_and_an_open_batch_is_one(
    make_onnx: MakeModel, batch: int | str | None, times: int
) -> None:
    found = uses(make_onnx(NODES, {"x": [batch, 3, 8, 6]}, ["y"], WEIGHTS))
    depthwise = {f"dw__{k}": 4 * 3 * times for k in range(4)}
    # 8 x 6 of two channels, two at a time.
    dense = {"dense": 48 * times}
    assert found == {"conv": 48 * times, **depthwise, "up": 12 * times, **dense}


def test_what_the_model_does_not_tell_is_unknown_until_the_user_does(make_onnx: MakeModel) -> None:
    model = make_onnx(NODES[:1], {"x": ["N", 3, "height", "width"]}, ["h1"], WEIGHTS)
    assert uses(model) == {"conv": None}
    assert uses(model, input_shapes={"x": (1, 3, 7, 5)}) == {"conv": 35}


def test_a_shape_that_runs_through_the_graph_is_known(make_onnx: MakeModel) -> None:
    nodes = [
        NODE("Shape", ["x"], ["shape"]),
        NODE("Gather", ["shape", "zero"], ["n"], axis=0),
        NODE("Concat", ["n", "rest"], ["to"], axis=0),
        NODE("Reshape", ["x", "to"], ["h"]),
        NODE("MatMul", ["h", "w"], ["y"], name="fc"),
    ]
    ints = {"zero": np.array([0]), "rest": np.array([-1, 6])}
    model = make_onnx(nodes, {"x": ["N", 4, 3]}, ["y"], {**ints, "w": numbers(6, 5)})
    assert uses(model) == {"fc": 2}


def test_more_positions_than_can_be_counted_one_by_one(make_onnx: MakeModel) -> None:
    huge = 1 << 62
    node = NODE("Conv", ["x", "a"], ["y"], name="conv", pads=[huge, huge, 1, 1])
    with_pads = make_onnx([node], {"x": ["N", 3, 8, 6]}, ["y"], {"a": WEIGHTS["a"]})
    try:
        assert uses(with_pads)["conv"]
    except InputError as error:
        assert "\n" not in str(error)
