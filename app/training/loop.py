"""The training loop: batches into weights. Resumable after a kill; knows neither sentences nor simulations."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor, nn

from app.errors import InvalidRequest, Unavailable
from app.training.muon import Muon

#: The file in a work folder that a run can go on from, and its log beside it.
STATE_NAME = "state.pt"
LOG_NAME = "log.ndjson"

#: Between two saved states, unless told otherwise, and between two lines of the log.
SAVE_EVERY_S = 120.0
_LOG_EVERY_S = 30.0

#: The held-out loss is taken a hundred times in a long run.
_EVALUATIONS = 100

NetworkT = TypeVar("NetworkT", bound=nn.Module)
BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Schedule:
    """How long to learn and how fast, in the loop's unit; see `Recipe` for what the numbers do.

    `fixed` is what of the recipe must stay as it is for the whole of a run, `name` what the recipe is called.
    """

    name: str
    total: int
    learning_rate: float
    matrix_learning_rate: float
    warmup: int
    decay_share: float
    weight_decay: float
    gradient_clip: float
    average_over: int
    seed: int
    is_compiled: bool
    fixed: Mapping[str, Any]

    def rate_share(self, done: int) -> float:
        """Share of the peak rate after `done`: linear warm-up, plateau, linear fall to zero."""
        warm = min(1.0, (done + 1) / max(1, self.warmup))
        decay = self.decay_share * self.total
        return warm * min(1.0, max(0.0, (self.total - done) / max(1.0, decay)))


@dataclass(frozen=True)
class Progress:
    """Where a run stands, in `unit`. `loss` is the running training loss, `held_out` the last held-out loss.

    `per_s` is the speed of the last minute, NaN before it is known.
    """

    done: int
    total: int
    loss: float
    held_out: float
    seconds: float
    per_s: float = math.nan
    unit: str = "tokens"
    loss_unit: str = "nats a token"

    @property
    def left_s(self) -> float:
        """Seconds until the end at this speed."""
        return max(0, self.total - self.done) / self.per_s


@dataclass
class TrainingResult(Generic[NetworkT]):
    """A finished run: averaged weights in `network`, and the numbers for its card; `done` in the loop's unit."""

    network: NetworkT
    done: int
    seconds: float
    held_out: float
    history: list[dict[str, float]]


class Loop(ABC, Generic[NetworkT, BatchT]):
    """Trains one network. `folder` receives `state.pt` now and then and at the end, and `log.ndjson`.

    Args:
        network: What is trained; it is moved to the device.
        corpus: Numbers that tell the corpus of a run from another one.
        described: The corpus in words.
        save_every_s: Between two saved states.
    """

    #: What is counted: the schedule, the progress and the log are in it.
    unit: ClassVar[str]

    #: What the losses are in, to follow a number in a sentence.
    loss_unit: ClassVar[str]

    #: The held-out loss is taken after so many, or a hundred times in a long run.
    evaluate_every: ClassVar[int]

    def __init__(
        self, schedule: Schedule, network: NetworkT, corpus: list[float], folder: Path, device: torch.device,
        *, save_every_s: float = SAVE_EVERY_S,
    ) -> None:  # fmt: skip
        self.schedule = schedule
        self.network = network.to(device)
        self._corpus = corpus
        self._folder = folder
        self._device = device
        self._save_every_s = save_every_s
        self._average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._optimizers = self._build_optimizers()
        self.done, self.seconds = 0, 0.0
        self._round, self._batch = 0, 0
        self._loss, self._held_out_loss = math.nan, math.nan
        self.history: list[dict[str, float]] = []

    @abstractmethod
    def _rounds(self, first: int) -> Generator[list[BatchT]]:
        """Rounds of batches from number `first` on, without end; round n is the same after a restart."""

    @abstractmethod
    def _size(self, batch: BatchT) -> int:
        """What a batch counts."""

    @abstractmethod
    def _loss_of(self, batch: BatchT) -> Tensor:
        """What is to become less, a scalar on the device."""

    @abstractmethod
    def _loss_held_out(self) -> float:
        """The loss of the network as it is on what it does not learn from."""

    @abstractmethod
    def _describe(self, corpus: list[float]) -> str:
        """A corpus by its numbers, in words."""

    def _build_optimizers(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """AdamW for all, or, with a `matrix_learning_rate`, Muon for the hidden matrices and AdamW for the rest."""
        r = self.schedule
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (matrices if parameter.dim() == 2 and "embedding" not in name else rest).append(parameter)
        is_fused = self._device.type == "cuda"
        if r.matrix_learning_rate <= 0:
            groups = [{"params": matrices, "weight_decay": r.weight_decay}, {"params": rest, "weight_decay": 0.0}]
            alone = torch.optim.AdamW(groups, lr=r.learning_rate, betas=(0.9, 0.95), fused=is_fused)
            return [(alone, r.learning_rate)]
        adam = torch.optim.AdamW(rest, lr=r.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=is_fused)
        muon = Muon(matrices, lr=r.matrix_learning_rate, weight_decay=r.weight_decay)
        return [(adam, r.learning_rate), (muon, r.matrix_learning_rate)]

    def resume(self) -> bool:
        """Continue from `state.pt` where there is one; True when it did. What follows is what would have followed.

        Raises:
            InvalidRequest: the state is of another recipe or corpus, or cannot be read.
        """
        path = self._folder / STATE_NAME
        if not path.is_file():
            return False
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            before, corpus = state["recipe"], state["corpus"]
        except (OSError, EOFError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise InvalidRequest(
                f"{path} is no state of a training run that this version can go on from: {error}"
            ) from error
        for key, value in self.schedule.fixed.items():
            if before.get(key, value) != value:
                raise InvalidRequest(
                    f"{path} is of another recipe: {key} was {before[key]!r} and is {value!r}; "
                    "go on with the recipe it was begun with, or name another folder"
                )
        if corpus != self._corpus:
            raise InvalidRequest(
                f"{path} is of another corpus: {self._describe(corpus)}, now {self._describe(self._corpus)}; "
                "go on with the corpus it was begun with, or name another folder"
            )
        self.network.load_state_dict(state["network"])
        self._average = state["average"]
        for (optimizer, _), saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.done, self.seconds, self._round, self._batch = (
            state[key] for key in ("done", "seconds", "round", "batch")
        )
        self._loss, self._held_out_loss = state["loss"], state["held_out"]
        self.history = state["history"]
        self._set_random_state(state["random"])
        self._cut_log()
        return True

    def _random_state(self) -> dict[str, Tensor]:
        """Of the generators that dropout draws from."""
        state = {"cpu": torch.get_rng_state()}
        if self._device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self._device)
        return state

    def _set_random_state(self, state: Mapping[str, Tensor]) -> None:
        torch.set_rng_state(state["cpu"].cpu())
        if "cuda" in state and self._device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"].cpu(), self._device)

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(), "average": self._average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
            "done": self.done, "seconds": self.seconds, "round": self._round, "batch": self._batch,
            "loss": self._loss, "held_out": self._held_out_loss, "history": self.history,
            "random": self._random_state(), "recipe": dict(self.schedule.fixed), "corpus": self._corpus,
        }  # fmt: skip
        path = self._folder / STATE_NAME
        partial = path.with_name(path.name + ".partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:  # torch's writer makes RuntimeErrors of what the file refuses
            with contextlib.suppress(OSError):
                partial.unlink()
            raise _not_written(path, error) from error

    def run(
        self,
        *,
        seconds: float | None = None,
        report: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> TrainingResult[NetworkT] | None:
        """Train until the schedule's total is done; None when `seconds` ran out or `stop` said so (the state is saved).

        Raises:
            Unavailable: the folder cannot be written to, or the network cannot be compiled here.
        """
        started = saved = logged = time.monotonic()
        before = self.seconds
        pace = _Pace(started, self.done)
        self.network.train()
        with contextlib.closing(self._rounds(self._round)) as rounds:
            batches: list[BatchT] = []
            while self.done < self.schedule.total:
                if not batches:
                    batches = next(rounds)
                self._step(batches[self._batch])
                self._batch += 1
                if self._batch == len(batches):
                    self._round, self._batch, batches = self._round + 1, 0, []
                now = time.monotonic()
                self.seconds = before + now - started
                is_due = self._is_evaluation_due()
                if is_due:
                    self._evaluate()
                at = Progress(
                    self.done, self.schedule.total, self._loss, self._held_out_loss, self.seconds,
                    pace.per_s(now, self.done), self.unit, self.loss_unit,
                )  # fmt: skip
                if is_due or now - logged > _LOG_EVERY_S:
                    self._write_log(at)
                    logged = now
                if report:
                    report(at)
                is_over = seconds is not None and now - started > seconds
                if is_over or (stop is not None and stop()):
                    self._save()
                    return None
                if now - saved > self._save_every_s:
                    self._save()
                    saved = now
        self._save()
        self._use(self._average)
        self._held_out_loss = self._loss_held_out()
        return TrainingResult(self.network.eval(), self.done, self.seconds, self._held_out_loss, self.history)

    def _step(self, batch: BatchT) -> None:
        try:
            loss = self._loss_of(batch)
            torch.autograd.backward(loss)
        except _compiler_errors(self.schedule.is_compiled) as error:
            raise Unavailable(
                f"recipe {self.schedule.name} wants the network compiled, which this machine cannot do; "
                f"set compile = false in the recipe ({error})"
            ) from error
        nn.utils.clip_grad_norm_(self.network.parameters(), self.schedule.gradient_clip)
        share = self.schedule.rate_share(self.done)
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()
        size = self._size(batch)
        self.done += size
        kept = math.exp(-size / self.schedule.average_over)
        with torch.no_grad():
            names, parameters = zip(*self.network.named_parameters(), strict=True)
            torch._foreach_lerp_([self._average[n] for n in names], list(parameters), 1 - kept)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InvalidRequest(
                f"the loss became {value} after {self.done} {self.unit}; go on from the last state saved with lower "
                "learning rates in the recipe, in another folder"
            )
        self._loss = value if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * value

    def _use(self, weights: Mapping[str, Tensor]) -> None:
        """The network's parameters have these values."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(weights[name])

    def _is_evaluation_due(self) -> bool:
        every = max(self.evaluate_every, self.schedule.total // _EVALUATIONS)
        return not self.history or self.done - self.history[-1][self.unit] >= every

    def _evaluate(self) -> None:
        """The averaged weights' held-out loss is in the history."""
        current = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._use(self._average)
        self._held_out_loss = self._loss_held_out()
        self._use(current)
        self.history.append(
            {self.unit: self.done, "loss": self._loss, "held_out": self._held_out_loss, "seconds": self.seconds}
        )

    def _write_log(self, at: Progress) -> None:
        """A line more in the log; numbers that are not known yet are null."""
        line = {
            at.unit: at.done, "loss": at.loss, "held_out": at.held_out, "seconds": at.seconds,
            f"{at.unit}_per_s": at.per_s, "left_s": at.left_s,
        }  # fmt: skip
        path = self._folder / LOG_NAME
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({k: v if math.isfinite(v) else None for k, v in line.items()}) + "\n")
        except OSError as error:
            raise _not_written(path, error) from error

    def _cut_log(self) -> None:
        """The log ends where the state does: what a killed run had told beyond it is told again."""
        path = self._folder / LOG_NAME
        if not path.is_file():
            return
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)[self.unit] <= self.done]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _not_written(path: Path, error: Exception) -> Unavailable:
    reason = getattr(error, "strerror", None) or error
    return Unavailable(
        f"{path} cannot be written ({reason}); make room or name another folder, and go on from the last state saved"
    )


def _compiler_errors(is_compiled: bool) -> tuple[type[Exception], ...]:
    """What `torch.compile` raises; the compiler is not loaded where nothing is compiled."""
    if not is_compiled:
        return ()
    from torch._dynamo.exc import TorchDynamoException

    return (TorchDynamoException,)


class _Pace:
    """What is done a second over about the last minute."""

    _WINDOW_S = 60.0

    def __init__(self, now: float, done: int) -> None:
        self._marks = deque([(now, done)])

    def per_s(self, now: float, done: int) -> float:
        """The speed, now that so much is done."""
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._WINDOW_S:
            self._marks.popleft()
        then, had = self._marks[0]
        return (done - had) / (now - then) if now > then else math.nan
