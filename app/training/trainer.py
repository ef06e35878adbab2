"""The training loop: a stream of sentences into weights. Resumable after a kill; knows no circuits."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.errors import InvalidRequest, Unavailable
from app.nn.decoder import Decoder, DecoderConfig
from app.training.recipe import Recipe
from app.training.rounds import Rounds, drawn_ahead
from app.training.sentences import IGNORED, Batch, SentenceStream, group_by_tokens, pad

#: The file in a work folder that a run can go on from, and its log beside it.
STATE_NAME = "state.pt"
LOG_NAME = "log.ndjson"

#: Between two saved states, unless told otherwise, and between two lines of the log.
SAVE_EVERY_S = 120.0
_LOG_EVERY_S = 30.0

#: The held-out loss is taken after so many tokens, or a hundred times in a long run.
_EVALUATE_EVERY_TOKENS = 1_000_000
_EVALUATIONS = 100

#: Keys of a recipe that may differ between the parts of one run: how far it goes, what it is called, how it is fed.
_MAY_CHANGE = frozenset({"tokens", "name", "file", "loaders"})


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `loss` is the running training loss, `held_out` the last held-out loss, nats per token.

    `tokens_per_s` is the speed of the last minute, NaN before it is known.
    """

    tokens: int
    total: int
    loss: float
    held_out: float
    seconds: float
    tokens_per_s: float = math.nan

    @property
    def left_s(self) -> float:
        """Seconds until the end at this speed."""
        return max(0, self.total - self.tokens) / self.tokens_per_s


@dataclass
class TrainingResult:
    """A finished run: averaged weights in `network`, and the numbers for its card."""

    network: Decoder
    tokens: int
    seconds: float
    held_out_nats: float
    history: list[dict[str, float]]


def learning_rate_share(recipe: Recipe, tokens: int) -> float:
    """Share of the peak rate after `tokens`: linear warm-up, plateau, linear fall to zero."""
    warm = min(1.0, (tokens + 1) / max(1, recipe.warmup_tokens))
    decay = recipe.decay_share * recipe.tokens
    return warm * min(1.0, max(0.0, (recipe.tokens - tokens) / max(1.0, decay)))


def held_out_loss(network: Decoder, sentences: Sequence[list[int]], precision: str, device: torch.device) -> float:
    """Mean nats per token over whole sentences, ``<begin>`` not counted."""
    total, count = 0.0, 0
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for group in group_by_tokens(sorted(sentences, key=len), 8192):
            batch = pad(group)
            total += float(batch_loss(network, batch, precision, device)) * batch.tokens
            count += batch.tokens
    network.train(was_training)
    return total / max(1, count)


def batch_loss(network: Callable[..., Any], batch: Batch, precision: str, device: torch.device) -> Tensor:
    """Mean nats per token of a batch, as a scalar on the device. `network` is a decoder, compiled or not."""
    inputs, targets, positions = batch.on(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        scores = network(inputs, positions=positions)
    return F.cross_entropy(scores.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


class Trainer:
    """Trains one decoder. `folder` receives `state.pt` now and then and at the end, and `log.ndjson`.

    Args:
        initial: Weights to start from instead of random ones; of a network of the recipe's shape.
        loaders: Processes that draw batches ahead; none of them changes what is drawn.
        save_every_s: Between two saved states.

    Raises:
        InvalidRequest: `initial` has another shape or vocabulary.
        Unavailable: the recipe wants an optimizer that this version of torch lacks.
    """

    def __init__(
        self, recipe: Recipe, stream: SentenceStream[Any], held_out: Sequence[list[int]], vocab: int, folder: Path,
        device: torch.device, *, initial: Decoder | None = None, loaders: int = 0,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:  # fmt: skip
        self.recipe = recipe
        self._rounds = Rounds(stream, recipe)
        self._corpus = [len(stream.rows), round(stream.mean_length, 6)]
        self._held_out = held_out
        self._folder = folder
        self._device = device
        self._loaders = loaders
        self._save_every_s = save_every_s
        torch.manual_seed(recipe.seed)
        shape = recipe.network
        self.config = DecoderConfig(
            vocab=vocab, width=shape.width, layers=shape.layers, heads=shape.heads, kv_heads=shape.kv_heads,
            mlp_width=shape.mlp_width, context=recipe.context, dropout=shape.dropout,
        )  # fmt: skip
        self.network = Decoder(self.config)
        if initial is not None:
            self._start_from(initial)
        self.network.to(device)
        self._forward: Callable[..., Any] = torch.compile(self.network) if recipe.compile else self.network
        self._average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._optimizers = self._build_optimizers()
        self.tokens, self.seconds = 0, 0.0
        self._round, self._batch = 0, 0
        self._loss, self._held_out_loss = math.nan, math.nan
        self.history: list[dict[str, float]] = []

    def _start_from(self, initial: Decoder) -> None:
        for name in ("vocab", "width", "layers", "heads", "kv_heads", "mlp_width", "rotary_base"):
            theirs, ours = getattr(initial.config, name), getattr(self.config, name)
            if theirs != ours:
                raise InvalidRequest(f"the initial network has {name} {theirs}, recipe {self.recipe.name} wants {ours}")
        self.network.load_state_dict(initial.state_dict())

    def _build_optimizers(self) -> list[tuple[torch.optim.Optimizer, float]]:
        """AdamW for all, or, with a `matrix_learning_rate`, Muon for the hidden matrices and AdamW for the rest.

        Reference:
            [jordan2024muon]; [liu2025moonlight] Eq. (4) for the scale that lets both share AdamW's rates.
        """
        r = self.recipe
        matrices: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in self.network.named_parameters():
            (matrices if parameter.dim() == 2 and "embedding" not in name else rest).append(parameter)
        is_fused = self._device.type == "cuda"
        if r.matrix_learning_rate <= 0:
            groups = [{"params": matrices, "weight_decay": r.weight_decay}, {"params": rest, "weight_decay": 0.0}]
            alone = torch.optim.AdamW(groups, lr=r.learning_rate, betas=(0.9, 0.95), fused=is_fused)
            return [(alone, r.learning_rate)]
        if not hasattr(torch.optim, "Muon"):
            raise Unavailable(
                f"recipe {r.name}: a matrix_learning_rate asks for the Muon optimizer, which torch {torch.__version__} "
                "lacks; install torch 2.9 or newer, or set matrix_learning_rate = 0"
            )
        adam = torch.optim.AdamW(rest, lr=r.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=is_fused)
        muon = torch.optim.Muon(
            matrices, lr=r.matrix_learning_rate, weight_decay=r.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
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
        for key, value in self._fixed_recipe().items():
            if before.get(key, value) != value:
                raise InvalidRequest(
                    f"{path} is of another recipe: {key} was {before[key]!r} and is {value!r}; "
                    "go on with the recipe it was begun with, or name another folder"
                )
        if corpus != self._corpus:
            raise InvalidRequest(
                f"{path} is of another corpus: {corpus[0]} circuits of {corpus[1]:.1f} tokens, now {self._corpus[0]} "
                f"of {self._corpus[1]:.1f}; go on with the corpus it was begun with, or name another folder"
            )
        self.network.load_state_dict(state["network"])
        self._average = state["average"]
        for (optimizer, _), saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.tokens, self.seconds, self._round, self._batch = (
            state[key] for key in ("tokens", "seconds", "round", "batch")
        )
        self._loss, self._held_out_loss = state["loss"], state["held_out"]
        self.history = state["history"]
        self._set_random_state(state["random"])
        self._cut_log()
        return True

    def _fixed_recipe(self) -> dict[str, Any]:
        """What of the recipe must stay as it is for the whole of a run."""
        return {key: value for key, value in self.recipe.as_json().items() if key not in _MAY_CHANGE}

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
            "tokens": self.tokens, "seconds": self.seconds, "round": self._round, "batch": self._batch,
            "loss": self._loss, "held_out": self._held_out_loss, "history": self.history,
            "random": self._random_state(), "recipe": self._fixed_recipe(), "corpus": self._corpus,
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
    ) -> TrainingResult | None:
        """Train until the recipe's tokens are seen; None when `seconds` ran out or `stop` said so (the state is saved).

        Raises:
            Unavailable: the folder cannot be written to, or the network cannot be compiled here.
        """
        started = saved = logged = time.monotonic()
        before = self.seconds
        pace = _Pace(started, self.tokens)
        self.network.train()
        with contextlib.closing(drawn_ahead(self._rounds, self._round, self._loaders)) as rounds:
            batches: list[Batch] = []
            while self.tokens < self.recipe.tokens:
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
                    self.tokens, self.recipe.tokens, self._loss, self._held_out_loss, self.seconds,
                    pace.tokens_per_s(now, self.tokens),
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
        self._held_out_loss = held_out_loss(self.network, self._held_out, self.recipe.precision, self._device)
        return TrainingResult(self.network.eval(), self.tokens, self.seconds, self._held_out_loss, self.history)

    def _step(self, batch: Batch) -> None:
        try:
            loss = batch_loss(self._forward, batch, self.recipe.precision, self._device)
            torch.autograd.backward(loss)
        except _compiler_errors(self.recipe.compile) as error:
            raise Unavailable(
                f"recipe {self.recipe.name} wants the network compiled, which this machine cannot do; "
                f"set compile = false in the recipe ({error})"
            ) from error
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)
        share = learning_rate_share(self.recipe, self.tokens)
        for optimizer, peak in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * share
            optimizer.step()
            optimizer.zero_grad()
        self.tokens += batch.tokens
        kept = math.exp(-batch.tokens / self.recipe.ema_tokens)
        with torch.no_grad():
            names, parameters = zip(*self.network.named_parameters(), strict=True)
            torch._foreach_lerp_([self._average[n] for n in names], list(parameters), 1 - kept)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InvalidRequest(
                f"the loss became {value} after {self.tokens} tokens; go on from the last state saved with lower "
                "learning rates in the recipe, in another folder"
            )
        self._loss = value if math.isnan(self._loss) else 0.98 * self._loss + 0.02 * value

    def _use(self, weights: Mapping[str, Tensor]) -> None:
        """The network's parameters have these values."""
        with torch.no_grad():
            for name, parameter in self.network.named_parameters():
                parameter.copy_(weights[name])

    def _is_evaluation_due(self) -> bool:
        every = max(_EVALUATE_EVERY_TOKENS, self.recipe.tokens // _EVALUATIONS)
        return not self.history or self.tokens - self.history[-1]["tokens"] >= every

    def _evaluate(self) -> None:
        """The averaged weights' held-out loss is in the history."""
        current = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self._use(self._average)
        self._held_out_loss = held_out_loss(self.network, self._held_out, self.recipe.precision, self._device)
        self._use(current)
        self.history.append(
            {"tokens": self.tokens, "loss": self._loss, "held_out": self._held_out_loss, "seconds": self.seconds}
        )

    def _write_log(self, at: Progress) -> None:
        """A line more in the log; numbers that are not known yet are null."""
        line = {
            "tokens": at.tokens, "loss": at.loss, "held_out": at.held_out, "seconds": at.seconds,
            "tokens_per_s": at.tokens_per_s, "left_s": at.left_s,
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
        kept = [line for line in lines if json.loads(line)["tokens"] <= self.tokens]
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
    """Tokens a second over about the last minute."""

    _WINDOW_S = 60.0

    def __init__(self, now: float, tokens: int) -> None:
        self._marks = deque([(now, tokens)])

    def tokens_per_s(self, now: float, tokens: int) -> float:
        """The speed, now that so many tokens are seen."""
        if now - self._marks[-1][0] >= 1.0:
            self._marks.append((now, tokens))
        while len(self._marks) > 2 and now - self._marks[1][0] > self._WINDOW_S:
            self._marks.popleft()
        then, had = self._marks[0]
        return (tokens - had) / (now - then) if now > then else math.nan
