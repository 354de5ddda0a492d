"""Whether torch makes of a network what onnxruntime makes of it, before anything is trained."""

import numpy as np
import torch

from onnx2mzi.emulate.accuracy import relative_error
from onnx2mzi.emulate.host import least_samples
from onnx2mzi.emulate.network import Network
from onnx2mzi.errors import InputError
from onnx2mzi.train.graph import HostGraph
from onnx2mzi.train.node import REMEDY
from onnx2mzi.train.samples import tensors

SAMPLES = 64
# Torch computes in float32, and some operators by other formulas.
ALIKE = 1e-2
FREE = f"export it with a free batch dimension in which samples do not meet, or {REMEDY}"


def check_alike(graph: HostGraph, network: Network) -> None:
    """Raises InputError if the graph's outputs on a few samples are not the network's.

    Training sends many samples at once: a model for a fixed number of them, or one in which they
    meet, is another function then.
    """
    least = least_samples(network.runner.host.inputs, network.fit.inputs)
    few = network.fit.take(slice(0, least * -(-SAMPLES // least))) if least else network.fit
    matrices = {layer.name: layer.weight for layer in network.layers}
    wanted = {
        name: array
        for name, array in network.outputs(matrices, few).items()
        if array.dtype.kind in "fc"
    }
    weights = {name: torch.from_numpy(np.array(matrix)) for name, matrix in matrices.items()}
    inputs = tensors(few.inputs)
    try:
        with torch.no_grad():
            made = {name: array.numpy() for name, array in graph(weights, inputs).items()}
    except InputError as error:
        raise InputError(error.message, where=error.where, hint=FREE) from error
    off = relative_error(made, wanted)
    if not off <= ALIKE:
        raise InputError(
            f"training on phases sends {len(few)} samples at once, and then the model's outputs "
            f"are others than for one after the other (relative error {off:.2g})",
            where="model",
            hint=FREE,
        )
