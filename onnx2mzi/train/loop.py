"""Training a `PhaseNetwork`: Adam, any schedule, hooks for what prunes on the way."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnx2mzi.errors import InputError
from onnx2mzi.train.network import PhaseNetwork
from onnx2mzi.train.samples import Aim, Samples
from onnx2mzi.train.schedules import Schedule, one_cycle

# Samples at a time where nothing is kept for gradients.
MEASURED = 5000


@dataclass(frozen=True, slots=True)
class Settings:
    """How it is trained: peak rate of phases (rad) and of what is electronic, samples a step;
    `l1` is a norm on phases, by which they shrink a step and unit of rate: power is their sum."""

    lr: float = 0.01
    lr_electronic: float = 0.01
    l1: float = 0.0
    batch: int = 500
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Measure:
    """A network on samples: mean loss, share of right answers (None without answers), heaters,
    and the sum of |phase| in rad."""

    loss: float
    accuracy: float | None
    heaters: int
    power_rad: float


@dataclass(slots=True)
class At:
    """Where a training is: step of steps (the first is 0), share behind, and the rate of phases."""

    step: int
    steps: int
    share: float
    rate: float


Hook = Callable[["Trainer", At], None]
Penalty = Callable[["Trainer", Tensor], Tensor]


@dataclass(eq=False)
class Trainer:
    """A network, what it is trained for, and what it has learned so far.

    `fit` may be called many times; each call starts Adam anew and counts as one piece of work:
    with a `folder` (asked whenever something could be kept; None: nowhere) finished pieces are kept
    there under names that begin with `prefix` and, after an interruption, taken up instead of done
    again, the piece that was under way from the end of one of its epochs on. The same seed gives
    the same network. `deadline` is a `perf_counter` time: `fit` ends early at it, then `expired`.
    """

    network: PhaseNetwork
    aim: Aim
    fit_on: Samples
    held: Samples
    settings: Settings = field(default_factory=Settings)
    deadline: float | None = None
    folder: Callable[[], Path | None] = lambda: None
    prefix: str = ""
    tell: Callable[[str, int, int], None] = lambda what, done, total: None
    patience_s: float = 5.0
    pieces: int = 0

    def __post_init__(self) -> None:
        self.optimizer: torch.optim.Adam | None = None
        self._kept_s = perf_counter()
        if len(self.fit_on) == 0:
            raise InputError("there are no samples to train on")

    # ---- training -------------------------------------------------------------------------

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and perf_counter() >= self.deadline

    def fit(
        self,
        epochs: float,
        *,
        lr: float | None = None,
        schedule: Schedule = one_cycle,
        hook: Hook | None = None,
        penalty: Penalty | None = None,
        rows: Tensor | None = None,
        still: bool = False,
        memory: dict[str, Any] | None = None,
        what: str = "train",
    ) -> None:
        """Train for so many epochs (a fraction will do) on `fit_on`, or its `rows` only.

        `hook` is called behind every step and may change `alive` (through `keep`) and phases;
        `penalty` adds to the loss. With `still` phases stay, what is electronic learns. What a
        hook has to know of the steps before is in `memory`, so that an interrupted training goes
        on as it was: numbers and tensors. `what` is what progress is told about.
        """
        piece, self.pieces = self.pieces, self.pieces + 1
        if self._taken_up(piece, done=True, memory=memory) is not None:
            return
        rows = torch.arange(len(self.fit_on)) if rows is None else rows
        batch = min(self.settings.batch, len(rows))
        each = max(len(rows) // batch, 1)
        steps = max(round(epochs * each), 1)
        peak = self.settings.lr if lr is None else lr
        self.optimizer = optimizer = self._optimizer()
        random = self._random(piece)
        begin = self._taken_up(piece, done=False, memory=memory, more=(optimizer, random)) or 0
        with single(self.settings.threads):
            order = torch.empty(0, dtype=torch.int64)
            recent: list[float] = []
            for step in range(begin, steps):
                if step % each == 0:
                    if step > begin and perf_counter() - self._kept_s > self.patience_s:
                        self._keep_piece(piece, step, False, optimizer, random, memory)
                    order = rows[torch.randperm(len(rows), generator=random)]
                if self.expired:
                    return
                share = (step + 0.5) / steps
                at = At(step, steps, share, peak * schedule(share))
                factor = schedule(share)
                for group in optimizer.param_groups:
                    group["lr"] = factor * group["peak"] * (peak / self.settings.lr)
                if still:
                    optimizer.param_groups[0]["lr"] = 0.0
                part = step % each
                recent.append(
                    self._step(optimizer, order[part * batch : (part + 1) * batch], penalty)
                )
                if hook is not None:
                    hook(self, at)
                if step % 10 == 9 or step == steps - 1:
                    loss = float(np.mean(recent[-20:]))
                    told = f"{what}: loss {loss:.4f}, {self.network.phases_active} phases"
                    self.tell(told, step + 1, steps)
        self._keep_piece(piece, steps, True, optimizer, random, memory)

    def _step(self, optimizer: torch.optim.Adam, rows: Tensor, penalty: Penalty | None) -> float:
        on = self.fit_on.take(rows)
        optimizer.zero_grad(set_to_none=True)
        phase = self.network.effective()
        loss = self.aim.loss(self.network(on.inputs, phase=phase), on)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise InputError(
                "training on phases diverged (the loss is no number)",
                hint="use a smaller rate, as with prune{lr=0.003}",
            )
        total = loss if penalty is None else loss + penalty(self, phase)
        total.backward()  # type: ignore[no-untyped-call,unused-ignore]
        optimizer.step()
        if self.settings.l1 > 0:
            self.shrink(self.settings.l1 * optimizer.param_groups[0]["lr"])
        self.network.project()
        return value

    def _optimizer(self) -> torch.optim.Adam:
        network, settings = self.network, self.settings
        electronic = [network.gain, *([network.turn] if len(network.turn) else []), *network.biases]
        return torch.optim.Adam(
            [
                {"params": [network.phase], "peak": settings.lr, "lr": settings.lr},
                {
                    "params": electronic,
                    "peak": settings.lr_electronic,
                    "lr": settings.lr_electronic,
                },
            ],
            betas=(0.9, 0.99),
        )

    # ---- what methods ask and do ------------------------------------------------------------

    def keep(self, alive: Tensor, *, value: Tensor | None = None) -> None:
        """These heaters (P,) stay or come; the others go. What comes starts at `value` (default:
        where it rested), without momentum; what goes rests where `network.rest` says."""
        network = self.network
        with torch.no_grad():
            came = alive & ~network.alive
            gone = ~alive & network.alive
            network.phase[came] = network.rest[came] if value is None else value[came]
            network.phase[~alive] = network.rest[~alive]
            network.alive.copy_(alive)
            state = {} if self.optimizer is None else self.optimizer.state.get(network.phase, {})
            for name in ("exp_avg", "exp_avg_sq"):
                if name not in state:
                    continue
                usual = state[name][alive & ~came].mean() if name == "exp_avg_sq" else 0.0
                state[name][came] = usual
                state[name][gone] = 0.0

    def some(self, most: int, at: At) -> Tensor:
        """Rows (B,) of at most so many samples to fit on, others at every step."""
        return self.shuffled(torch.arange(len(self.fit_on)), at.step)[:most]

    def shuffled(self, rows: Tensor, number: int = 0) -> Tensor:
        """Rows (B,) in another order, the same for the same seed and `number`."""
        return rows[torch.randperm(len(rows), generator=self._random(number))]

    def _random(self, number: int) -> torch.Generator:
        # Torch takes seeds of 64 bits.
        return torch.Generator().manual_seed((1_000_003 * self.settings.seed + number) % 2**63)

    def shrink(self, by_rad: float, spared: Tensor | None = None) -> None:
        """All phases of heaters but those `spared` (P,) come nearer to 0 by so much, or are 0:
        the proximal step of an L1 norm, which does not pass through Adam's normalisation."""
        network = self.network
        moves = network.alive & ~network.fixed
        if spared is not None:
            moves &= ~spared
        with torch.no_grad():
            phase = network.phase
            small = torch.sign(phase) * torch.relu(phase.abs() - by_rad)
            phase.copy_(torch.where(moves, small, phase))

    def gradient(self, rows: Tensor | None = None, most: int = 5000) -> Tensor:
        """dL/dphase (P,) on at most `most` samples, of phases that are gone as well."""
        rows = torch.arange(len(self.fit_on)) if rows is None else rows
        # Data may be sorted by class.
        rows = self.shuffled(rows)[:most] if len(rows) > most else rows
        with single(self.settings.threads):
            phase = self.network.effective().detach().clone().requires_grad_()
            total = torch.zeros_like(phase)
            for start in range(0, len(rows), 1000):
                part = rows[start : start + 1000]
                on = self.fit_on.take(part)
                loss = self.aim.loss(self.network(on.inputs, phase=phase), on)
                total += torch.autograd.grad(loss, phase)[0] * (len(part) / len(rows))
        return total

    def measure(self, on: Samples | None = None) -> Measure:
        """The network on the samples kept back, or others."""
        on = self.held if on is None else on
        loss, right, answers = 0.0, 0.0, False
        with single(self.settings.threads), torch.no_grad():
            matrices = self.network.matrices()
            for start in range(0, len(on), MEASURED):
                part = on.take(slice(start, start + MEASURED))
                outputs = self.network.electronics(matrices, part.inputs, self.network.constants())
                loss += float(self.aim.loss(outputs, part)) * len(part)
                found = self.aim.right(outputs, part)
                if found is not None:
                    answers, right = True, right + float(found.sum())
        return Measure(
            loss / max(len(on), 1),
            right / max(len(on), 1) if answers else None,
            self.network.phases_active,
            self.network.power_rad(),
        )

    # ---- interruptions ------------------------------------------------------------------------

    def _path(self, piece: int, done: bool) -> Path | None:
        folder = self.folder()
        if folder is None:
            return None
        return folder / f"{self.prefix}piece{piece}.{'done' if done else 'part'}.pt"

    def _keep_piece(
        self,
        piece: int,
        step: int,
        done: bool,
        optimizer: torch.optim.Adam,
        random: torch.Generator,
        memory: dict[str, Any] | None,
    ) -> None:
        path = self._path(piece, done)
        if path is None:
            return
        content = {"network": self.network.state(), "step": step, "memory": memory or {}}
        if not done:
            content |= {"optimizer": optimizer.state_dict(), "random": random.get_state()}
        self._kept_s = perf_counter()
        new = path.with_suffix(".new")
        try:
            torch.save(content, new)
            new.replace(path)
        except (OSError, RuntimeError):
            # Torch raises either where the disk is full or the folder gone. Training goes on.
            self.folder = lambda: None
            return
        part = self._path(piece, False)
        if done and part is not None:
            part.unlink(missing_ok=True)

    def _taken_up(
        self,
        piece: int,
        *,
        done: bool,
        memory: dict[str, Any] | None,
        more: tuple[torch.optim.Adam, torch.Generator] | None = None,
    ) -> int | None:
        """The step that a kept piece had reached; None if there is none."""
        path = self._path(piece, done)
        if path is None or not path.is_file():
            return None
        try:
            content: Mapping[str, Any] = torch.load(path, weights_only=True)
        except Exception:
            # Torch does not say what a damaged file raises. The piece is trained again.
            return None
        if memory is not None:
            memory.update(content["memory"])
        self.network.restore(content["network"])
        if more is not None:
            optimizer, random = more
            optimizer.load_state_dict(content["optimizer"])
            random.set_state(content["random"])
        return int(content["step"])


@contextlib.contextmanager
def single(threads: int) -> Iterator[None]:
    """So many threads inside: sums in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
