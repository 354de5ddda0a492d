"""Networks for the benchmark of heat: complex 16-16-16-10 on MNIST, dense and pruned; needs torch.

The inputs are the 4 x 4 lowest spatial frequencies of an image, 16 complex numbers. A layer is
a complex matrix, a detector and softplus between layers; the scores are the powers at the last
detectors. Dense nets are trained as matrices. Pruned ones are trained as chips: every phase has
a heater on the upper arm if it is positive, on the lower one if not, and the smallest go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from onnx2mzi.emulate.transfer import grid_matrix
from onnx2mzi.ir import (
    Attenuators,
    LinearLayer,
    Loc,
    Mesh,
    MeshTile,
    Operand,
    Program,
    Stage,
    TileGrid,
)
from onnx2mzi.physics.shifter import Drive, ShifterState

SIZES = (16, 16, 16, 10)
# Nets for analog hardware are trained with noise on their weights, of this relative size.
NOISE = 0.07
SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """Inputs (n, 16), complex, and labels (n,)."""

    x_train: Any
    y_train: Any
    x_test: Any
    y_test: Any


def frequencies(images: Any) -> Any:
    """The 4 x 4 lowest spatial frequencies of images (n, h, w), mean power 1, (n, 16)."""
    spectrum = np.fft.fftshift(np.fft.fft2(images / 255.0), axes=(1, 2))
    middle = images.shape[1] // 2
    cut = spectrum[:, middle - 2 : middle + 2, middle - 2 : middle + 2].reshape(len(images), -1)
    # The mean of an image tells little and would outshine all the rest.
    size = np.sqrt((np.abs(cut) ** 2).mean(0))
    return cut / size


def mnist() -> Images | None:
    """MNIST, None if it is not there."""
    path = SHARED / "data" / "mnist.npz"
    if not path.is_file():
        return None
    with np.load(path) as file:
        parts = {name: file[name] for name in file.files}
    train, test = (frequencies(parts[f"x_{name}"]) for name in ("train", "test"))
    return Images(train, parts["y_train"].astype(int), test, parts["y_test"].astype(int))


@dataclass(frozen=True, slots=True, eq=False)
class Net:
    """What the chip and the electronics around it compute."""

    program: Program
    gain: tuple[float, ...]

    def scores(self, matrices: dict[str, Any], x: Any) -> Any:
        """Powers at the last detectors, (n, 10); x (n, 16)."""
        light = x
        for k in range(len(SIZES) - 1):
            found = np.abs(light @ matrices[f"layer{k}"].T)
            if k == len(SIZES) - 2:
                return found**2 * self.gain[k]
            light = np.logaddexp(0.0, found * self.gain[k])
        raise AssertionError

    def layer_inputs(self, matrices: dict[str, Any], x: Any) -> dict[str, Any]:
        """The vectors that every layer meets, as columns, (16, n)."""
        seen, light = {}, x
        for k in range(len(SIZES) - 1):
            seen[f"layer{k}"] = light.T
            light = np.logaddexp(0.0, np.abs(light @ matrices[f"layer{k}"].T) * self.gain[k])
        return seen

    def accuracy(self, matrices: dict[str, Any], x: Any, y: Any) -> float:
        """Share of right answers."""
        return float((self.scores(matrices, x).argmax(1) == y).mean())


def kept(folder: Path | None, name: str, train: Callable[[], Net]) -> Net:
    """A trained net: from `folder` if it is there, else trained, and put there."""
    path = None if folder is None else folder / f"{name}.npz"
    if path is not None and path.is_file():
        with np.load(path) as file:
            return _read({key: file[key] for key in file.files})
    net = train()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **_written(net))
    return net


def _written(net: Net) -> dict[str, Any]:
    found: dict[str, Any] = {"gain": np.array(net.gain)}
    for k, layer in enumerate(net.program.layers):
        found[f"w{k}"] = layer.weight
        for grid in layer.grids:
            tile = grid.tiles[0]
            assert isinstance(tile, MeshTile)
            found[f"{k}_sigma"] = tile.sigma.theta_rad
            for name, mesh in (("v", tile.v), ("u", tile.u)):
                for field in _MESH:
                    found[f"{k}_{name}_{field}"] = getattr(mesh, field)
    return found


_MESH = ("ports", "column", "port", "theta_rad", "phi_rad")


def _read(found: dict[str, Any]) -> Net:
    gain = tuple(float(g) for g in found["gain"])
    layers = []
    for k in range(len(SIZES) - 1):
        if f"{k}_sigma" not in found:
            layers.append(_layer(k, found[f"w{k}"]))
            continue
        v, u = (_drawn(*(found[f"{k}_{name}_{field}"] for field in _MESH)) for name in "vu")
        grid = _grid(k, v, u, found[f"{k}_sigma"][: SIZES[k + 1]])
        layers.append(_layer(k, grid_matrix(grid, real=False), (grid,)))
    stage = Stage.MESH if layers[0].grids else Stage.LINEAR
    return Net(Program("complex", stage, 16, tuple(layers)), gain)


def _layer(k: int, weight: Any, grids: tuple[TileGrid, ...] = ()) -> LinearLayer:
    operand = Operand("", -1, f"w{k}", False, "complex128")
    return LinearLayer(f"layer{k}", np.asarray(weight, complex), operand, Loc(f"layer{k}"), grids)


def dense_net(images: Images, *, seed: int, epochs: int = 30, noise: float = NOISE) -> Net:
    """Trained as three matrices, stage LINEAR; `noise` is that of weights while training."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    weights = [
        torch.nn.Parameter(torch.randn(m, n, dtype=torch.complex64) / n**0.5)
        for n, m in pairwise(SIZES)
    ]
    x, y = torch.tensor(images.x_train, dtype=torch.complex64), torch.tensor(images.y_train)

    def scores(light: Any) -> Any:
        for k, exact in enumerate(weights):
            size = exact.detach().abs().pow(2).mean().sqrt()
            weight = exact + noise * size * torch.randn_like(exact)
            found = (light @ weight.T).abs()
            if k == len(weights) - 1:
                return found**2
            light = torch.nn.functional.softplus(found).to(torch.complex64)
        return None

    _fit(weights, scores, x, y, steps=epochs * 118, rate=1e-2)
    matrices = [weight.detach().numpy().astype(complex) for weight in weights]
    layers = tuple(_layer(k, w) for k, w in enumerate(matrices))
    return Net(Program("complex", Stage.LINEAR, 16, layers), (1.0, 1.0, 1.0))


def _fit(parameters: Any, scores: Any, x: Any, y: Any, *, steps: int, rate: float) -> None:
    import torch

    optimizer = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, eta_min=rate * 0.02)
    for _ in range(steps):
        pick = torch.randint(len(x), (512,))
        loss = torch.nn.functional.cross_entropy(scores(x[pick]), y[pick])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


class _Chip:
    """Meshes as torch sees them: six of 16 columns, theta and phi on a grid (mesh, column, row)."""

    def __init__(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)
        self.ports = [16, 16, 16, 16, 16, 10]
        real = np.zeros((6, 16, 16), bool)
        for m, ports in enumerate(self.ports):
            for c in range(ports):
                real[m, c, c % 2 : ports - 1 : 2] = True
        self.real = torch.tensor(real)
        self.partner = torch.arange(16).repeat(6, 16, 1)
        joined = real.copy()
        joined[:, :, 1:] |= real[:, :, :-1]
        self.joined = torch.tensor(joined)
        upper = torch.tensor(real)
        lower = torch.tensor(joined & ~real)
        self.partner[upper] += 1
        self.partner[lower] -= 1
        self.theta = torch.nn.Parameter((torch.rand(6, 16, 16) - 0.5) * 3.0)
        self.phi = torch.nn.Parameter((torch.rand(6, 16, 16) - 0.5) * 3.0)
        self.sigma = torch.nn.Parameter(torch.rand(3, 16) * 1.0 + 0.3)
        self.gain = torch.nn.Parameter(torch.tensor([2.0, 2.0, 2.0]).log())
        self.mask = torch.stack([self.real, self.real]).float()

    def meshes(self) -> Any:
        """Transfer matrices, (6, 16, 16)."""
        import torch

        theta, phi = self.theta * self.mask[0], self.phi * self.mask[1]
        light = torch.eye(16, dtype=torch.complex64).repeat(6, 1, 1)
        upper = self.real
        lower = self.joined & ~upper
        for c in range(16):
            both, up, low = self.joined[:, c, :, None], upper[:, c], lower[:, c]
            other = self.partner[:, c, :, None].expand(-1, -1, 16)
            for phase in (phi, theta):
                x = phase[:, c]
                below = torch.where(low, torch.roll(x, 1, 1), torch.zeros_like(x))
                arm = torch.where(up, x.clamp(min=0), (-below).clamp(min=0))
                light = light * torch.exp(1j * arm)[:, :, None]
                mixed = (light + 1j * light.gather(1, other)) * 2**-0.5
                light = torch.where(both, mixed, light)
        return light

    def scores(self, x: Any) -> Any:
        """Scores of inputs (n, 16)."""
        import torch

        made = self.meshes()
        gain = self.gain.exp()
        light = x
        for k in range(3):
            v, u = made[2 * k], made[2 * k + 1]
            # An attenuator is an MZI: it turns the phase as well.
            half = self.sigma[k] / 2
            channel = torch.cos(half) * torch.exp(1j * half)
            rows = SIZES[k + 1]
            weight = u[:rows, :rows] @ (channel[:rows, None] * v[:rows])
            found = (light @ weight.T).abs() * gain[k]
            if k == 2:
                return found**2
            light = torch.nn.functional.softplus(found).to(torch.complex64)
        return None

    @property
    def phases(self) -> int:
        return int(self.real.sum()) * 2


def pruned_net(
    images: Images, *, seed: int, sparsity: float, depth: int = 16, steps: int = 4000
) -> Net:
    """Trained as a chip, the smallest phases pruned on the way; stage MESH.

    No light passes more than `depth` thetas of a mesh: their chains are what makes a pruned mesh
    long. The smallest theta on a chain that is longer goes, and another phase stays for it.
    """
    import torch

    torch.set_num_threads(1)
    chip = _Chip(seed)
    x, y = torch.tensor(images.x_train, dtype=torch.complex64), torch.tensor(images.y_train)
    parameters = [chip.theta, chip.phi, chip.sigma, chip.gain]
    optimizer = torch.optim.Adam(parameters, 2e-2)
    dense, last = steps // 8, 5 * steps // 8
    total = chip.phases
    for step in range(steps):
        for group in optimizer.param_groups:
            left = (steps - step) / (steps - last)
            group["lr"] = 2e-2 * (1.0 if step < last else 0.02 + 0.98 * left)
        pick = torch.randint(len(x), (256,))
        loss = torch.nn.functional.cross_entropy(chip.scores(x[pick]), y[pick])
        phases = torch.stack([chip.theta, chip.phi]) * chip.mask
        # Heat costs a little: what is kept should be small.
        loss = loss + 5e-5 * phases.abs().sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            for values in (chip.theta, chip.phi):
                values.clamp_(-np.pi, np.pi)
            chip.sigma.clamp_(0.0, np.pi)
            if dense <= step < last and step % 20 == 0:
                rest = (1 - (step - dense) / (last - 20 - dense)) ** 3
                share = sparsity * (1 - rest)
                _shallower(chip, round(depth + (16 - depth) * rest))
                keep = round(total * (1 - min(share, sparsity)))
                size = (torch.stack([chip.theta, chip.phi]) * chip.mask).abs()
                floor = torch.sort(size.flatten(), descending=True).values[keep - 1]
                chip.mask = chip.mask * (size >= floor)
    return _as_program(chip)


def _shallower(chip: _Chip, depth: int) -> None:
    """Masks thetas until no light passes more than `depth` of a mesh, the smallest ones."""
    for m, ports in enumerate(chip.ports):
        theta = (chip.theta[m] * chip.mask[0, m]).abs().numpy()
        while True:
            chain = _longest(chip.real[m].numpy(), theta > 0, ports)
            if len(chain) <= depth:
                break
            at = min(chain, key=lambda at: theta[at])
            theta[at] = chip.mask[0, m][at] = 0.0


def _longest(real: Any, mixes: Any, ports: int) -> list[tuple[int, int]]:
    """(column, port) of the MZIs that mix along the longest chain of a mesh."""
    chains: list[list[tuple[int, int]]] = [[] for _ in range(ports)]
    for c, p in zip(*np.nonzero(real), strict=True):
        a, b = chains[p : p + 2]
        if mixes[c, p]:
            chains[p] = chains[p + 1] = [*max(a, b, key=len), (int(c), int(p))]
        else:
            chains[p], chains[p + 1] = b, a
    return max(chains, key=len)


def _as_program(chip: _Chip) -> Net:
    theta, phi = (
        (values * mask).detach().numpy().astype(float)
        for values, mask in zip((chip.theta, chip.phi), chip.mask, strict=True)
    )
    sigma = chip.sigma.detach().numpy().astype(float)
    layers = []
    for k in range(3):
        v, u = (_mesh(chip, m, theta[m], phi[m]) for m in (2 * k, 2 * k + 1))
        grid = _grid(k, v, u, sigma[k, : SIZES[k + 1]])
        layers.append(_layer(k, grid_matrix(grid, real=False), (grid,)))
    gain = tuple(float(g) for g in chip.gain.detach().exp().numpy())
    # The scores are squares.
    program = Program("complex", Stage.MESH, 16, tuple(layers))
    return Net(program, (gain[0], gain[1], gain[2] ** 2))


def _mesh(chip: _Chip, m: int, theta: Any, phi: Any) -> Mesh:
    at = column, port = np.nonzero(chip.real[m].numpy())
    return _drawn(chip.ports[m], column, port, theta[at], phi[at])


def _grid(k: int, v: Mesh, u: Mesh, sigma_rad: Any) -> TileGrid:
    rows, columns = SIZES[k + 1], SIZES[k]
    on = np.clip(sigma_rad, 0.0, np.pi)
    tile = MeshTile(
        np.arange(rows, dtype=np.int32),
        np.arange(columns, dtype=np.int32),
        u,
        Attenuators(on, _state(on), Drive.ARM_CHOICE),
        v,
        1.0,
        np.zeros(rows),
    )
    return TileGrid(rows, columns, (tile,))


def _drawn(ports: int, column: Any, port: Any, theta_rad: Any, phi_rad: Any) -> Mesh:
    # The largest float of torch is a little more than pi.
    theta, phi = (np.clip(phase, -np.pi, np.pi) for phase in (theta_rad, phi_rad))
    ports = int(ports)
    return Mesh(
        ports,
        np.asarray(column, np.int32),
        np.asarray(port, np.int32),
        theta,
        phi,
        _state(theta),
        _state(phi),
        np.zeros(ports),
        np.zeros(ports, np.uint8),
        Drive.ARM_CHOICE,
    )


def _state(phase_rad: Any) -> Any:
    on = np.asarray(phase_rad) != 0
    return np.where(on, ShifterState.ACTIVE, ShifterState.REMOVED).astype(np.uint8)
