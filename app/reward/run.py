"""Expert iteration: sample, judge, learn from the winners and from the corpus, look at the held-out loss, repeat.

One more round than the recipe's is sampled at the end, from which nothing is learnt: it measures the outcome on the
same footing as the first one measured the model that it all started from.

Reference:
    [anthony2017expert] §3.1, where the expert is a tree search; here it is the reward's choice among the samples, as
    in the grow and improve steps of [gulcehre2023rest] §3.
"""

from __future__ import annotations

import copy
import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from app.errors import InvalidRequest
from app.inference.checkpoint import INDEX_NAME, Checkpoint, save_checkpoint, seal
from app.nn.decoder import Decoder
from app.reward._base import Reward
from app.reward.journal import RoundJournal
from app.reward.judge import JudgedSample, RoundFigures, Sample, judge
from app.reward.mixture import mixed_stream
from app.reward.recipe import RewardRecipe
from app.reward.sampling import Draw, sample_and_score
from app.reward.state import RoundOutcome, RunState, origin, read_state
from app.training.corpora import prepared_corpus
from app.training.loop import Progress, TrainingResult
from app.training.prepared import Prepared
from app.training.recipe import NetworkShape, Recipe
from app.training.run import check_writable
from app.training.sentences import Example, SentenceStream
from app.training.trainer import Trainer, held_out_loss

log = logging.getLogger(__name__)

#: Samples are scored in this many threads a worker process, so that none of them waits for the next circuit.
_THREADS_A_WORKER = 2

#: The run goes over to its last round after so many rounds whose weights were taken back.
_MOST_REFUSALS = 3


@dataclass(frozen=True)
class RewardRun:
    """What to improve, on what, where to.

    `model` is where it starts from, `corpus` what that was trained on (see `corpus_of`). `work` keeps the journal and
    the state; `output` becomes the model folder, anew after every round. `workers` simulator processes are kept busy.
    `seconds` ends the call early with the state saved. `command` is told in the model's configuration.
    """

    recipe: RewardRecipe
    model: Checkpoint
    corpus: Prepared
    work: Path
    output: Path
    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    seconds: float | None = None
    command: str = ""


def corpus_of(model: Checkpoint, source: Path | None) -> Prepared:
    """The corpus in the model's language, with the same circuits held out as when the model was trained on it.

    Raises:
        CorpusMissing, InvalidInput: the corpus cannot be read.
    """
    share = model.config["training"].get("recipe", {}).get("held_out_share", Recipe.held_out_share)
    return prepared_corpus(model.kind, model.language.name, share, source)


@dataclass(frozen=True)
class RewardProgress:
    """Where a run stands: `done` of all `total` samples are scored; `figures` are those of the last finished round."""

    number: int
    done: int
    total: int
    doing: str
    figures: RoundFigures | None


@dataclass(frozen=True)
class RewardResult:
    """A finished run: every round's outcome, the last of which only measures; held-out losses in nats a token."""

    outcomes: tuple[RoundOutcome, ...]
    held_out_before: float
    held_out_after: float


class Iteration:
    """One run. `learn` may be called in as many processes, one after the other, as it takes.

    Args:
        report: Is told how far the run is.
        stop: Ends the run, with its state saved, once it says so.

    Raises:
        InvalidRequest: the work folder holds another run, the model does not write circuits of the reward's kind, or
            the corpus is prepared in another language.
        Unavailable: a folder cannot be written to.
    """

    def __init__(
        self,
        run: RewardRun,
        reward: Reward[Any],
        report: Callable[[RewardProgress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        torch.set_num_threads(run.threads)
        self._run, self._recipe, self._reward, self._report, self._stop = run, run.recipe, reward, report, stop
        self._until = None if run.seconds is None else time.monotonic() + run.seconds
        self._base = run.model
        if self._base.kind != reward.kind:
            raise InvalidRequest(
                f"model {self._base.name} writes {self._base.kind} circuits; this reward is for {reward.kind} ones"
            )
        if run.corpus.about.language != self._base.language.name:
            raise InvalidRequest(
                f"model {self._base.name} speaks {self._base.language.name}, the corpus is prepared in "
                f"{run.corpus.about.language}; prepare it in the model's language"
            )
        self._language, self._device = self._base.language, torch.device(run.device)
        self._network = copy.deepcopy(self._base.network).to(self._device)
        supervised: dict[str, Any] = self._base.config["training"].get("recipe", {})
        self._label_exponent: float = supervised.get("label_exponent", Recipe.label_exponent)
        self._length_exponent: float = supervised.get("length_exponent", Recipe.length_exponent)
        self._corpus = self._usable(run.corpus.side(is_held_out=False)).examples
        self._held_out = self._usable(run.corpus.side(is_held_out=True)).fixed(self._recipe.seed)
        for folder in (run.work, run.output):
            check_writable(folder)
        run.work.mkdir(parents=True, exist_ok=True)
        started = origin(self._recipe, self._base.name, self._base.sha256, run.corpus.about.corpus)
        found = read_state(run.work, started, reward.figures_type)
        self._state = found or RunState(run.work, started, self._loss())
        if found is None:
            self._state.save()
        if not self._is_finished and self._state.outcomes and self._state.outcomes[-1].measures_only:
            self._state.outcomes.pop()  # it was the last round; now that there are more, its winners are learnt from
        self._wishes = reward.wishes(self._corpus)
        self._judged = [self._journal(number).read() for number in range(len(self._state.outcomes))]
        if self._state.last_kept is not None:
            self._use(torch.load(self._weights(self._state.last_kept), map_location=self._device, weights_only=True))

    def _journal(self, number: int) -> RoundJournal[Any]:
        return RoundJournal(self._run.work, number, self._reward.facts_type)

    def _usable(self, examples: Sequence[Example[Any]]) -> SentenceStream[Any]:
        context = self._network.config.context
        return SentenceStream(examples, self._language.encode, context=context, label_exponent=self._label_exponent)

    def learn(self) -> RewardResult | None:
        """The output folder holds the improved model; None when it was ended first (call again)."""
        while not self._is_finished:
            outcome = self._round(len(self._state.outcomes))
            if outcome is None:
                return None
            self._state.outcomes.append(outcome)
            self._state.save()
            shutil.rmtree(self._training_folder(outcome.number), ignore_errors=True)
            self._save_model()
            log.info("%s", told(outcome))
        return RewardResult(tuple(self._state.outcomes), self._state.held_out_before, self._loss())

    @property
    def _is_finished(self) -> bool:
        """Whether the last round was the one that only measures."""
        outcomes = self._state.outcomes
        return bool(outcomes) and self._measures_only(outcomes[-1].number)

    def _is_over(self) -> bool:
        """Whether the time is used up, or a stop was asked for."""
        is_late = self._until is not None and time.monotonic() >= self._until
        return is_late or (self._stop is not None and self._stop())

    def _measures_only(self, number: int) -> bool:
        earlier = [outcome for outcome in self._state.outcomes if outcome.number < number]
        refused = sum(outcome.held_out_nats is not None and not outcome.kept for outcome in earlier)
        return number >= self._recipe.rounds or refused >= _MOST_REFUSALS

    def _round(self, number: int) -> RoundOutcome | None:
        """The outcome of a round; None when it was ended before."""
        judged = self._samples(number)
        if judged is None:
            return None
        self._judged = [*self._judged[:number], judged]
        found = self._reward.figures(judged)
        rate = self._state.learning_rate
        if self._measures_only(number):
            return RoundOutcome(number, found, rate, measures_only=True)
        if not found.winners:
            return RoundOutcome(number, found, rate)
        learnt = self._learnt(number, rate)
        if learnt is None:
            return None
        kept = not learnt.held_out > self._state.held_out_before + self._recipe.most_rise_nats
        if kept:
            self._keep(number, learnt.network)
        return RoundOutcome(number, found, rate, learnt.held_out, kept)

    def _samples(self, number: int) -> list[JudgedSample[Any]] | None:
        """The judged samples of a round, as the journal has them; None when it was ended first."""
        journal = self._journal(number)
        if journal.is_judged:
            return journal.read()
        samples = {sample.index: sample for sample in journal.begin()}
        draw = Draw(self._network, self._language, self._recipe, number, self._device, self._run.threads)

        def keep(sample: Sample[Any]) -> None:
            journal.append(sample)
            samples[sample.index] = sample
            self._tell(number, len(samples), "scoring")

        wanted = [(index, wish) for index, wish in enumerate(self._wishes) if index not in samples]
        threads = _THREADS_A_WORKER * self._run.workers
        if not sample_and_score(draw, wanted, self._reward, threads=threads, keep=keep, stop=self._is_over):
            return None
        known = [entry.sample.facts.identity for earlier in self._judged[:number] for entry in earlier]
        judged = judge(
            self._settled([samples[index] for index in range(len(self._wishes))]), known, self._reward.worth,
            winner_share=self._recipe.winner_share,
        )  # fmt: skip
        journal.finish(judged)
        return journal.read()

    def _settled(self, samples: list[Sample[Any]]) -> list[Sample[Any]]:
        """The samples with the facts that only a whole round tells."""
        written = {n: sample for n, sample in enumerate(samples) if sample.facts.is_circuit}
        circuits = [self._language.decode(list(sample.tokens))[0] for sample in written.values()]
        settled = list(samples)
        found = self._reward.of_a_round(list(written.values()), circuits)
        for (n, sample), facts in zip(written.items(), found, strict=True):
            settled[n] = replace(sample, facts=facts)
        return settled

    def _learnt(self, number: int, learning_rate: float) -> TrainingResult[Decoder] | None:
        """The network after learning from the winners so far; None when it was ended before."""
        r = self._recipe
        winners = [entry for judged in self._judged[-r.kept_rounds :] for entry in judged if entry.has_won]
        config = self._network.config
        stream = mixed_stream(
            self._corpus, winners, self._language,
            context=config.context, label_exponent=self._label_exponent, length_exponent=self._length_exponent,
            winner_mix=r.winner_mix, most_repeats=r.most_repeats,
        )  # fmt: skip
        shape = NetworkShape(**{each.name: getattr(config, each.name) for each in fields(NetworkShape)})
        recipe = Recipe(
            self._base.kind, r.name, self._language.name, r.tokens, batch_tokens=r.batch_tokens, context=config.context,
            learning_rate=learning_rate, matrix_learning_rate=r.matrix_learning_rate * learning_rate / r.learning_rate,
            warmup_tokens=r.warmup_tokens, decay_share=r.decay_share,
            ema_tokens=r.ema_tokens, seed=r.seed + number, precision=r.precision, network=shape,
        )  # fmt: skip
        folder = self._training_folder(number)
        trainer = Trainer(recipe, stream, self._held_out, config.vocab, folder, self._device, initial=self._network)
        trainer.resume()

        def tell(at: Progress) -> None:
            self._tell(number, r.samples, f"learning, {at.done:,} of {at.total:,} tokens")

        return trainer.run(report=tell, stop=self._is_over)

    def _keep(self, number: int, network: Decoder) -> None:
        """The weights stand: they are in the work folder, and the next round samples from them."""
        path = self._weights(number)
        partial = path.with_name(path.name + ".partial")
        torch.save(network.state_dict(), partial)
        os.replace(partial, path)
        self._use(network.state_dict())

    def _use(self, weights: dict[str, Tensor]) -> None:
        self._network.load_state_dict(weights)
        self._network.eval()

    def _training_folder(self, number: int) -> Path:
        return self._run.work / f"round-{number:03d}"

    def _weights(self, number: int) -> Path:
        return self._run.work / f"round-{number:03d}.pt"

    def _loss(self) -> float:
        return held_out_loss(self._network, self._held_out, self._recipe.precision, self._device)

    def _save_model(self) -> None:
        """The output folder holds the weights that stand, with what is known of them."""
        folder, state = self._run.output, self._state
        kept = [outcome.held_out_nats for outcome in state.outcomes if outcome.kept]
        facts = {
            **self._base.config["training"],
            "reward": {
                "from": {"model": self._base.name, "weights": self._base.sha256},
                "recipe": self._recipe.as_json(),
                "samples": sum(outcome.figures.samples for outcome in state.outcomes),
                "winners": sum(outcome.figures.winners for outcome in state.outcomes),
                "held_out_nats_before": state.held_out_before,
                "held_out_nats_after": kept[-1] if kept else state.held_out_before,
                "rounds": [outcome.as_json() for outcome in state.outcomes],
                "command": self._run.command, "earlier": self._base.config["training"].get("reward"),
            },
        }  # fmt: skip
        save_checkpoint(
            folder, self._network, self._language, name=self._recipe.name, kind=self._base.kind, training=facts
        )
        shutil.copyfile(self._base.folder / INDEX_NAME, folder / INDEX_NAME)
        seal(folder)

    def _tell(self, number: int, done: int, doing: str) -> None:
        if self._report is not None:
            r = self._recipe
            last = self._state.outcomes[-1].figures if self._state.outcomes else None
            self._report(RewardProgress(number, number * r.samples + done, (r.rounds + 1) * r.samples, doing, last))


def told(outcome: RoundOutcome) -> str:
    """A finished round in one line."""
    learnt = "measured only" if outcome.measures_only else "nobody to learn from"
    if outcome.held_out_nats is not None:
        learnt = f"held-out loss {outcome.held_out_nats:.3f} nats a token, {'kept' if outcome.kept else 'taken back'}"
    return f"round {outcome.number}: {outcome.figures.told()}; {learnt}"
