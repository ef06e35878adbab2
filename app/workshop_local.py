"""The workshop of one machine: an engine a model, worker processes for ngspice and Qiskit, rows out of them.

Sampling runs in the engines' threads; decoding and checking of a finished circuit start at once in a thread of their
own, so that validation overlaps generation. Circuits of all callers share the engines' batches.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from app.analog.kinds import CIRCUIT_TYPES
from app.analog.spice import parse_spice
from app.design.maker import Designs
from app.errors import (
    CircuitSyntaxError,
    EngineClosed,
    InvalidRequest,
    JosephsonError,
    LimitExceeded,
    ModelDamaged,
    NgspiceMissing,
    NotASentence,
    UnknownName,
)
from app.findings import Finding, has_errors, not_readable
from app.generators import Candidate, Generator, Plan, generators
from app.hand_over import HandOver
from app.inference.cache import Precision
from app.inference.checkpoint import INDEX_NAME, Checkpoint, list_models, load_checkpoint
from app.inference.engine import Completion, Engine, Ticket
from app.inference.engine import Sequence as EngineSequence
from app.inference.randomness import stream_key
from app.measures.novelty import TrainingIndex
from app.neural_simulator.description import describe_simulator
from app.predictions import Predictions, predictions_of
from app.quantum.family_names import FAMILIES
from app.quantum.oracles import needed_oracle
from app.quantum.qasm import read_qasm
from app.requests import (
    JOB_REQUESTS,
    NEURAL_SIMULATOR,
    AnalogDesignRequest,
    AnalogPredictRequest,
    AnalogSizeRequest,
    GenerateRequest,
    JobRequest,
    QuantumGenerateRequest,
)
from app.resources import models_path
from app.simulated_rows import simulated_rows_of
from app.simulations import PreparedBenches, Simulations, describe_technology, describe_testbench, load_technologies
from app.simulators.operating_point import OperatingPointSimulator
from app.simulators.processes import ProcessLimits, WorkerPool
from app.sizing._base import sizing_methods
from app.sizings import Sizings, describe_method
from app.technologies._base import DEFAULT_TECHNOLOGY, technologies
from app.technologies._gmid import GmIdTableSource
from app.testbenches._base import testbenches
from app.testbenches._pool import simulation_pool
from app.validators._base import Rung, Subject, ValidationTools, Verdict, validators
from app.validators.ladder import Ladder
from app.validators.transpilation import TranspileTarget, transpiled
from app.workshop import Row, RowMaker

log = logging.getLogger(__name__)

_QISKIT_S = 30.0

#: Validators whose facts a row carries, and the keys it carries them under.
_SHOWN_FACTS = {
    "operating_point": "operating_point", "conduction": "conduction", "function": "function", "oracle": "verification",
}  # fmt: skip
_RECYCLE_AFTER = 2_000

#: Where a row is drawn again, each further draw is cooler by this share of the temperature asked for, down to this one:
#: cool draws keep to what a family is for more often, and the first ones are more varied.
_COOLING, _COOLEST = 0.1, 0.4


class WorkshopSettings(Protocol):
    """What the workshop of this machine is made of; `settings.Settings` has it all."""

    @property
    def data_dir(self) -> Path:
        """Folder of added technologies and caches."""

    @property
    def models_dir(self) -> Path | None:
        """Folder of trained models; the shipped ones when None."""

    @property
    def device(self) -> str:
        """``auto``, ``cpu`` or ``cuda``."""

    @property
    def engine_slots(self) -> int:
        """Sequences that an engine samples at once."""

    @property
    def precision(self) -> Precision:
        """Of the engines' matrix products."""

    @property
    def threads(self) -> int:
        """CPU threads of an engine."""

    @property
    def validator_workers(self) -> int:
        """Processes for ngspice, and as many for Qiskit."""


def build_workshop(settings: WorkshopSettings) -> LocalWorkshop:
    """The workshop of this machine; models are loaded, engines and workers start with the first request.

    Technologies that were added on it are registered.
    """
    load_technologies(settings.data_dir)
    return LocalWorkshop(settings)


@dataclass
class _Model:
    """A model in service; its engine starts with the first request."""

    checkpoint: Checkpoint
    seen: TrainingIndex | None
    engine: Engine | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


def choose_accelerator(device: str) -> torch.device:
    """``auto`` is a CUDA device where there is one, else the CPU; InvalidRequest where a named one is absent."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidRequest("device is 'cuda', but torch sees no CUDA device here; use 'auto' or 'cpu'")
    return torch.device(device)


class LocalWorkshop:
    """See the module; implements `workshop.Workshop`."""

    def __init__(self, settings: WorkshopSettings) -> None:
        self._settings = settings
        self._accelerator = choose_accelerator(settings.device)
        self._models: dict[str, _Model] = {}
        self._damaged: dict[str, str] = {}
        models_folder = settings.models_dir or models_path()
        self._load_models(models_folder)
        self._simulator = self._described_simulator(models_folder / NEURAL_SIMULATOR)
        self._finishers = ThreadPoolExecutor(4 * settings.validator_workers, thread_name_prefix="finish")
        self._reasons = list(self._damaged.values())
        self._ngspice_missing: NgspiceMissing | None = None
        self._ngspice = self._ngspice_pool()
        store = simulated_rows_of(settings.data_dir)
        self._simulations = None if self._ngspice is None else Simulations(self._ngspice, settings.data_dir, store)
        self._predictions = self._make_predictions()
        self._sizings = self._make_sizings()
        self._designs = (
            None if self._sizings is None else Designs(self, self._sizings, at_once=settings.validator_workers)
        )
        self._qiskit = WorkerPool(
            "app.validators.qiskit_worker", size=settings.validator_workers, timeout_s=_QISKIT_S,
            recycle_after=_RECYCLE_AFTER, limits=ProcessLimits(),
        )  # fmt: skip
        simulator = (
            None if self._ngspice is None else OperatingPointSimulator(self._ngspice, technologies[DEFAULT_TECHNOLOGY])
        )
        benches = None if self._simulations is None else self._simulations.benches
        self._ladder = Ladder(ValidationTools(simulator=simulator, qiskit=self._qiskit, benches=benches))
        self._generator_of: dict[str, Generator[Any]] = {entry.kind: entry for entry in generators.values()}
        self.is_closed = False

    def _load_models(self, folder: Path) -> None:
        for name in list_models(folder):
            try:
                checkpoint = load_checkpoint(folder / name)
                index = folder / name / INDEX_NAME
                seen = TrainingIndex.load(index) if index.is_file() else None
            except JosephsonError as error:
                log.error("%s", error)
                self._damaged[name] = str(error)
            else:
                self._models[checkpoint.name] = _Model(checkpoint, seen)

    def _described_simulator(self, folder: Path) -> dict[str, Any] | None:
        try:
            return describe_simulator(folder)
        except ModelDamaged as error:
            log.error("%s", error)
            return None

    def _ngspice_pool(self) -> WorkerPool | None:
        try:
            return simulation_pool(size=self._settings.validator_workers)
        except NgspiceMissing as error:
            log.error("%s", error)
            self._ngspice_missing = error
            self._reasons.append(str(error))
            return None

    def _make_predictions(self) -> Predictions:
        """Predictions that share their benches with the simulations, where there are any."""
        if self._simulations is None:
            benches = PreparedBenches(GmIdTableSource(None, self._settings.data_dir / "gmid"))
        else:
            benches = self._simulations.prepared
        return predictions_of(self._settings, benches, self._ngspice)

    def _make_sizings(self) -> Sizings | None:
        """Sizings on the workers of the simulations, where there are any."""
        if self._ngspice is None or self._simulations is None:
            return None
        predictions = self._predictions
        return Sizings(self._ngspice, self._simulations.benches.gmid, predictions.circuit_models, predictions.simulated)

    def prepare(self, kind: str, request: JobRequest) -> JobRequest:
        """The request with nothing left open (seed, model, corner); raises InvalidInput or Unavailable."""
        if kind not in JOB_REQUESTS:
            raise UnknownName("job kind", kind, JOB_REQUESTS, pointer="/kind")
        if (maker := self._maker_of(request)) is not None:
            return maker.prepare(kind, request)
        request = _generation(request)
        model = self._model_for(kind, request.model)
        self._generator_of[kind].plan(request, model.checkpoint.language)
        if isinstance(request, QuantumGenerateRequest) and request.verify:
            needed_oracle(request.family, request.qubits)
        seed = secrets.randbelow(2**53) if request.seed is None else request.seed
        return request.model_copy(update={"seed": seed, "model": model.checkpoint.name})

    def heading(self, kind: str, request: JobRequest) -> Mapping[str, Any]:
        """Seed and model, or what simulations, predictions, sizings or designs say."""
        if (maker := self._maker_of(request)) is not None:
            return maker.heading(kind, request)
        return {"seed": request.seed, "model": request.made_by}

    def _maker_of(self, request: JobRequest) -> RowMaker | None:
        """Who makes the rows of what needs a testbench, None for others; NgspiceMissing where that cannot be done."""
        if isinstance(request, GenerateRequest):
            return None
        if isinstance(request, AnalogPredictRequest):
            return self._predictions
        maker: RowMaker | None = self._simulations
        if isinstance(request, AnalogSizeRequest):
            maker = self._sizings
        elif isinstance(request, AnalogDesignRequest):
            maker = self._designs
        if maker is None:
            looked_at = () if self._ngspice_missing is None else self._ngspice_missing.looked_at
            raise NgspiceMissing(looked_at)
        return maker

    def _model_for(self, kind: str, name: str | None) -> _Model:
        circuits = kind.partition(".")[0]
        fitting = [model for model in self._models.values() if model.checkpoint.kind == circuits]
        if name is None:
            if fitting:
                return fitting[0]
            why = "; ".join(self._damaged.values()) or f"there is none in {self._settings.models_dir or models_path()}"
            raise ModelDamaged(f"no {circuits} model can be used: {why}")
        if name in self._damaged:
            raise ModelDamaged(self._damaged[name])
        if name not in self._models:
            raise UnknownName("model", name, self._models, pointer="/model")
        model = self._models[name]
        if model not in fitting:
            raise InvalidRequest(f"{name} is a model for {model.checkpoint.kind} circuits", pointer="/model")
        return model

    def _engine(self, model: _Model) -> Engine:
        with model.lock:
            if self.is_closed:
                raise EngineClosed("the workshop is closed")
            if model.engine is None or not model.engine.is_alive:
                language = model.checkpoint.language
                model.engine = Engine(
                    model.checkpoint.network, language.grammar(self._accelerator), slots=self._settings.engine_slots,
                    device=self._accelerator, threads=self._settings.threads, precision=self._settings.precision,
                )  # fmt: skip
            return model.engine

    def produce(
        self, kind: str, request: JobRequest, indices: Sequence[int], *, in_background: bool = False
    ) -> AsyncIterator[Row]:
        """Rows in order of completion; see `workshop.RowMaker.produce`."""
        if (maker := self._maker_of(request)) is not None:
            return maker.produce(kind, request, indices, in_background=in_background)
        return self._generate(kind, _generation(request), indices, in_background=in_background)

    async def _generate(
        self, kind: str, request: GenerateRequest, indices: Sequence[int], *, in_background: bool
    ) -> AsyncIterator[Row]:
        if request.seed is None:
            raise ValueError("the request is not prepared: it has no seed")
        model = self._model_for(kind, request.model)
        generator = self._generator_of[kind]
        plan = generator.plan(request, model.checkpoint.language)
        engine = await asyncio.to_thread(self._engine, model)
        rows = HandOver()
        work = _Work(self, kind, generator, plan, request, model)
        tickets: list[Ticket] = []

        def submit(index: int, earlier: Row | None = None) -> None:
            draw = 0 if earlier is None else earlier["draws"]
            key = stream_key(request.seed or 0, index, draw)
            temperature = request.temperature * max(_COOLEST, 1 - _COOLING * draw)
            sequence = EngineSequence(
                plan.prompt, key, temperature, request.top_p, plan.max_tokens, lane=int(in_background)
            )

            def on_done(outcome: Completion | BaseException) -> None:
                if not rows.is_closed:
                    self._finishers.submit(finish, index, earlier, outcome)

            tickets.append(engine.submit(sequence, on_done))

        def finish(index: int, earlier: Row | None, outcome: Completion | BaseException) -> None:
            row = work.row(index, outcome, earlier)
            if not work.is_to_be_drawn_again(row):
                rows.put(row)
            elif not rows.is_closed:
                try:
                    submit(index, cast("Row", row))
                except EngineClosed as error:
                    rows.put(error)

        try:
            for index in indices:
                submit(index)
            for _ in range(len(indices)):
                row = await rows.next()
                assert row is not None
                yield row
        finally:
            rows.close()
            for ticket in tickets:
                engine.cancel(ticket)

    async def validate(
        self, kind: str, text: str, *, checks: Rung | None = None, function_of: str | None = None
    ) -> Mapping[str, Any]:
        """See `workshop.Workshop.validate`; raises CircuitSyntaxError or LimitExceeded (netlists), UnknownName or
        InvalidRequest (a family without an oracle).
        """
        loop = asyncio.get_running_loop()
        rung = checks or ("operating_point" if function_of is None else "function")
        return await loop.run_in_executor(self._finishers, self._validate, kind, text, rung, function_of)

    def _validate(self, kind: str, text: str, rung: Rung, function_of: str | None) -> Mapping[str, Any]:
        if kind == "analog":
            parsed = parse_spice(text)
            subject, notes = Subject(text, netlist=parsed.netlist, function_of=function_of), parsed.notes
        else:
            if function_of is not None:
                needed_oracle(function_of)
            try:
                read = read_qasm(text)
            except (CircuitSyntaxError, LimitExceeded) as reason:  # a wrong program is a result
                return {"status": "invalid", "findings": [not_readable(reason).as_json()], "facts": {}}
            subject, notes = Subject(text, program=read.program, function_of=function_of), read.notes
        verdict = self.check(subject, rung)
        findings = (*notes, *verdict.findings)
        return {
            "status": "invalid" if has_errors(findings) else "ok",
            "findings": [finding.as_json() for finding in findings],
            "facts": dict(verdict.facts),
        }

    def check(self, subject: Subject, rung: Rung = "operating_point") -> Verdict:
        """What the ladder of checks says of one circuit up to a rung; a check that follows an error is left out."""
        return self._ladder.climb(subject, rung)

    def transpiled(self, program: str, width: int, machine: TranspileTarget) -> Mapping[str, Any]:
        """What an OpenQASM program of so many qubits costs on a machine; see `validators.transpilation.transpiled`."""
        return transpiled(self._qiskit, program, width, machine)

    def describe(self) -> Mapping[str, Any]:
        """Models, validators, technologies, testbenches, sizing methods and families."""
        models = []
        for kind in ("analog", "quantum"):
            fitting = [m.checkpoint for m in self._models.values() if m.checkpoint.kind == kind]
            models += [_describe_model(checkpoint, is_default=number == 0) for number, checkpoint in enumerate(fitting)]
        if self._simulator is not None:
            models.append(self._simulator | {"is_default": True, "is_loaded": self._predictions.is_loaded})
        return {
            "models": models,
            "validators": [
                {"name": name, "kind": entry.kind, "rung": entry.rung, "summary": entry.summary}
                for name, entry in validators.items()
            ],
            "technologies": [describe_technology(entry) for entry in technologies.values()],
            "testbenches": [describe_testbench(entry) for entry in testbenches.values()],
            "sizing_methods": [describe_method(name, entry) for name, entry in sizing_methods.items()],
            "families": {"analog": list(CIRCUIT_TYPES), "quantum": list(FAMILIES)},
        }

    def health(self) -> Mapping[str, Any]:
        """Whether generation and validation can be done, why not, and the counters of engines and workers."""
        engines = {name: _engine_facts(model.engine) for name, model in self._models.items()}
        reasons = list(self._reasons)
        if not self._models:
            reasons.append("no trained model is loaded")
        workers = {"qiskit": self._qiskit.statistics()}
        if self._ngspice is not None:
            workers["ngspice"] = self._ngspice.statistics()
        ready = bool(self._models) and self._ngspice is not None and not self._damaged and not self.is_closed
        return {
            "ready": ready,
            "reasons": reasons,
            "engine": engines,
            "workers": workers,
            "device": self._accelerator.type,
        }

    async def aclose(self) -> None:
        """Engines and worker processes are gone."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """As `aclose`, for callers without an event loop."""
        self.is_closed = True
        self._predictions.close()
        for model in self._models.values():
            with model.lock:
                if model.engine is not None:
                    model.engine.close()
        for pool in (self._ngspice, self._qiskit):
            if pool is not None:
                pool.close()
        self._finishers.shutdown()  # what waits there runs, so that every caller hears that the workshop is closed


def _generation(request: JobRequest) -> GenerateRequest:
    assert isinstance(request, GenerateRequest), "every other kind of request was dealt with"
    return request


@dataclass(frozen=True)
class _Work:
    """What every row of one call shares."""

    workshop: LocalWorkshop
    kind: str
    generator: Generator[Any]
    plan: Plan
    request: GenerateRequest
    model: _Model

    def row(self, index: int, outcome: Completion | BaseException, earlier: Row | None = None) -> Row | BaseException:
        """The row of one finished sequence; an exception only when the engine itself is down.

        Where rows are verified, `earlier` is the row of the draw before this one: the timings are those of all draws.
        """
        if isinstance(outcome, BaseException):
            return outcome
        if self.workshop.is_closed:
            return EngineClosed("the workshop was closed")
        base: Row = {"index": index, "status": "ok", "seed": self.request.seed, "model": self.request.model}
        began = time.monotonic()
        try:
            row = base | {"masked_nats": round(outcome.masked_nats, 4)} | self._finished(outcome)
            check_s = time.monotonic() - began
            row |= self._transpiled(row)
        except Exception as error:  # one circuit's trouble is one row's
            if not isinstance(error, JosephsonError):
                log.exception("row %d could not be finished", index)
            row = base | {"status": "error", "findings": [], "problem": _problem(error)}
            check_s = time.monotonic() - began
        row["timings"] = {
            "queued_s": round(outcome.queued_s, 4),
            "generate_s": round(outcome.sampled_s, 4),
            "check_s": round(check_s, 4),
        }
        if "transpiled" in row:
            row["timings"]["transpile_s"] = round(time.monotonic() - began - check_s, 4)
        if self.verifies is not None:
            self._count_draw(row, earlier, self.verifies)
        return row

    @property
    def verifies(self) -> QuantumGenerateRequest | None:
        """The request, where each row is to be what its family is for."""
        is_verified = isinstance(self.request, QuantumGenerateRequest) and self.request.verify
        return cast("QuantumGenerateRequest", self.request) if is_verified else None

    def is_to_be_drawn_again(self, row: Row | BaseException) -> bool:
        """Whether the row is not what was asked for while there are attempts left."""
        if self.verifies is None or isinstance(row, BaseException):
            return False
        return bool(row["status"] == "rejected" and row["draws"] < self.verifies.attempts)

    def _count_draw(self, row: Row, earlier: Row | None, request: QuantumGenerateRequest) -> None:
        """The row says how many draws were made and, after the last one, that none was what it should be."""
        row["draws"] = 1
        if earlier is not None:
            row["draws"] += earlier["draws"]
            for name, seconds in earlier["timings"].items():
                row["timings"][name] = round(row["timings"].get(name, 0.0) + seconds, 4)
        if row["status"] == "rejected" and not self.is_to_be_drawn_again(row):
            count = "not the one draw" if row["draws"] == 1 else f"none of {row['draws']} draws"
            message = f"{count} is verified as a program of the family {request.family}; this is the last one"
            finding = Finding("no_draw_verified", "error", message, hint="allow more attempts")
            row["findings"].append(finding.as_json())

    def _finished(self, outcome: Completion) -> Row:
        try:
            candidate = self.generator.candidate(
                outcome.ids, self.request, self.model.checkpoint.language, self.model.seen
            )
        except NotASentence as error:
            code = "not_a_sentence" if outcome.has_ended else "unfinished"
            finding = Finding(code, "error", str(error), hint='sample with the grammar: "grammar": true')
            return {"status": "rejected" if self.verifies else "invalid", "findings": [finding.as_json()]}
        return self._checked(candidate)

    def _checked(self, candidate: Candidate) -> Row:
        row: Row = dict(candidate.fields)
        if not self.request.validate_:
            return row | {"findings": []}
        subject = candidate.subject
        if self.request.rung == "function":
            subject = replace(subject, function_of=row["type" if subject.kind == "analog" else "family"])
        verdict = self.workshop.check(subject, self.request.rung)
        shown: Row = {key: verdict.facts[name] for name, key in _SHOWN_FACTS.items() if name in verdict.facts}
        if self.verifies:
            row["status"] = "ok" if shown.get("verification", {}).get("passes") else "rejected"
        else:
            row["status"] = "ok" if verdict.is_valid else "invalid"
        row["findings"] = [finding.as_json() for finding in verdict.findings]
        return row | shown

    def _transpiled(self, row: Row) -> Row:
        """What the row's program costs on the machine that was named, where one was."""
        asked = self.request.transpile if isinstance(self.request, QuantumGenerateRequest) else None
        if asked is None or "program" not in row or row["status"] == "rejected":
            return {}
        return {"transpiled": self.workshop.transpiled(row["program"], row["qubits"], asked.machine())}


def _problem(error: Exception) -> dict[str, str]:
    """What an error row says; the details of an unexpected error stay in the log."""
    expected = isinstance(error, JosephsonError)
    return {
        "type": type(error).__name__ if expected else "InternalError",
        "detail": str(error) if expected else "an internal error, which is in the service's log",
    }


def _describe_model(checkpoint: Checkpoint, *, is_default: bool) -> dict[str, Any]:
    training = checkpoint.config["training"]
    return {
        "name": checkpoint.name,
        "kind": checkpoint.kind,
        "is_default": is_default,
        "language": checkpoint.language.name,
        "parameters": checkpoint.config["parameters"],
        "sha256": checkpoint.sha256,
        "corpus": training.get("corpus"),
        "tokens_seen": training.get("tokens_seen"),
        "held_out_nats_per_token": training.get("held_out_nats_per_token"),
        "evaluation": checkpoint.card.get("evaluation"),
    }


def _engine_facts(engine: Engine | None) -> dict[str, float]:
    if engine is None:
        return {"tokens": 0, "sequences": 0, "active": 0, "waiting": 0, "slots": 0, "tokens_per_busy_s": 0.0}
    s = engine.statistics()
    rate = s.tokens / s.busy_s if s.busy_s else 0.0
    return {
        "tokens": s.tokens, "sequences": s.sequences, "active": s.active, "waiting": s.waiting, "slots": s.slots,
        "tokens_per_busy_s": round(rate, 1),
    }  # fmt: skip
