"""Train the first sample, a 64-64-10 ReLU network on scikit-learn's handwritten digits.

Writes, beside this file:

- ``digits.onnx``: two Gemm with a Relu between them, named as PyTorch's exporter names them,
  input ``x`` (batch, 64) in 0..1, output ``logits`` (batch, 10), opset 17;
- ``digits_train.npz`` (1347 images) and ``digits_test.npz`` (450 images): ``x`` float32, pixels
  divided by 16, and ``y`` int64.

What was chosen, and why:

- The test images are used once, to print the accuracy at the end. Nothing was picked by them.
- Each training image is also shown shifted by half a pixel to each side, because 1347 images are
  few. The shifted copies are not in ``digits_train.npz``.
- The weight decay is the largest of ``WEIGHT_DECAYS`` whose accuracy in five-fold cross-validation
  on the training images is within one standard error of the best (Breiman et al., 1984, "one
  standard error rule": among equals, the simplest). A network with smaller weights also needs a
  smaller chip, but the network is not tuned for that: pruning had no say in any choice here.

Run it with ``pip install ".[samples]" && python samples/train_digits.py``. It takes about 80 s
on one core. The same versions of numpy and scikit-learn give the same files on the same
kind of machine; elsewhere the last bits of the weights may differ.
"""

import argparse
import math
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from scipy.ndimage import shift
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.neural_network import MLPClassifier

SEED = 0
HIDDEN = 64
SIDE = 8
EPOCHS = 60
WEIGHT_DECAYS = (0.01, 0.03, 0.1, 0.3, 1.0)

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def digits() -> tuple[Images, Labels, Images, Labels]:
    """Return x_train, y_train, x_test, y_test: a fixed split, equal shares of every digit."""
    bunch = load_digits()
    x = (bunch.data / 16).astype(np.float32)
    y = bunch.target.astype(np.int64)
    x_train, x_test, y_train, y_test = train_test_split(
        x, y, test_size=0.25, stratify=y, random_state=SEED
    )
    return x_train, y_train, x_test, y_test


def with_shifts(x: Images, y: Labels) -> tuple[Images, Labels]:
    """Return the images and four copies of them, moved by half a pixel each way."""
    images = x.reshape(-1, SIDE, SIDE)
    moves = [(0.0, 0.0), (0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)]
    copies = [shift(images, (0.0, *move), order=1) for move in moves]
    return np.concatenate(copies).reshape(-1, SIDE * SIDE), np.tile(y, len(moves))


def fit(x: Images, y: Labels, weight_decay: float) -> MLPClassifier:
    """Train one network for a fixed number of epochs."""
    model = MLPClassifier(
        (HIDDEN,),
        alpha=weight_decay,
        batch_size=64,
        learning_rate_init=2e-3,
        max_iter=EPOCHS,
        n_iter_no_change=EPOCHS,
        random_state=SEED,
    )
    with warnings.catch_warnings():
        # The number of epochs is fixed, so stopping there is not a failure to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(*with_shifts(x, y))


def choose_weight_decay(x: Images, y: Labels) -> float:
    """Return the largest weight decay that is within one standard error of the best."""
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
    scores = []
    for weight_decay in WEIGHT_DECAYS:
        score = np.array(
            [fit(x[a], y[a], weight_decay).score(x[b], y[b]) for a, b in folds.split(x, y)]
        )
        scores.append((score.mean(), score.std(ddof=1) / math.sqrt(len(score))))
        print(
            f"weight decay {weight_decay:5}: {scores[-1][0]:.4f} +- {scores[-1][1]:.4f}", flush=True
        )
    best, error = max(scores)
    return max(
        w for w, (mean, _) in zip(WEIGHT_DECAYS, scores, strict=True) if mean >= best - error
    )


def to_onnx(model: MLPClassifier) -> onnx.ModelProto:
    """Return the network as PyTorch would export it: weights (out, in) and transB."""
    weights: list[onnx.TensorProto] = []
    for number, (weight, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), 1):
        for name, array in ((f"fc{number}.weight", weight.T), (f"fc{number}.bias", bias)):
            contiguous = np.ascontiguousarray(array, dtype=np.float32)
            weights.append(numpy_helper.from_array(contiguous, name))
    nodes = [
        helper.make_node(
            "Gemm",
            ["x", "fc1.weight", "fc1.bias"],
            ["/fc1/Gemm_output_0"],
            name="/fc1/Gemm",
            transB=1,
        ),
        helper.make_node(
            "Relu", ["/fc1/Gemm_output_0"], ["/relu/Relu_output_0"], name="/relu/Relu"
        ),
        helper.make_node(
            "Gemm",
            ["/relu/Relu_output_0", "fc2.weight", "fc2.bias"],
            ["logits"],
            name="/fc2/Gemm",
            transB=1,
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", SIDE * SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    made = helper.make_model(
        graph, producer_name="train_digits", opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    onnx.checker.check_model(made, full_check=True)
    return made


def main() -> None:
    """Train, export, and print the accuracy on the test images."""
    parser = argparse.ArgumentParser(description="Train and export the digits sample.")
    parser.add_argument("-o", "--output-dir", type=Path, default=Path(__file__).parent)
    parser.add_argument("--weight-decay", type=float, help="skip the search and take this one")
    args = parser.parse_args()

    x_train, y_train, x_test, y_test = digits()
    weight_decay = args.weight_decay
    if weight_decay is None:
        weight_decay = choose_weight_decay(x_train, y_train)
    model = fit(x_train, y_train, weight_decay)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(args.output_dir / "digits_train.npz", x=x_train, y=y_train)
    np.savez_compressed(args.output_dir / "digits_test.npz", x=x_test, y=y_test)
    onnx.save(to_onnx(model), args.output_dir / "digits.onnx")
    print(f"weight decay {weight_decay}: test accuracy {model.score(x_test, y_test):.4f}")


if __name__ == "__main__":
    main()
