"""How fast the engine is, beside other ways to run the same weights, in one run on one machine.

Figures are tokens per CPU-second of this process (robust on a shared machine) and per second of wall time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from app.errors import PackageMissing
from app.inference.cache import Precision
from app.inference.checkpoint import Checkpoint
from app.inference.engine import Completion, Engine, Prompt, Sequence
from app.inference.randomness import stream_key
from app.inference.sampling import sample
from app.nn.decoder import NORM_EPSILON, Decoder
from app.tokens._base import BEGIN, END, PAD, Grammar, TensorState
from app.tokens.device_lines import MAX_DEVICES, DeviceLines, TopologyConstraint

_TEMPERATURE = 0.9
_ROUNDS = 3


@dataclass(frozen=True)
class Timing:
    """One way to make tokens; the note says what was not run whole."""

    name: str
    tokens: int
    cpu_s: float
    wall_s: float
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """With tokens per CPU-second and per second."""
        return {
            "name": self.name, "tokens": self.tokens, "cpu_s": round(self.cpu_s, 2), "wall_s": round(self.wall_s, 2),
            "tokens_per_cpu_s": round(self.tokens / self.cpu_s, 1), "tokens_per_s": round(self.tokens / self.wall_s, 1),
            "note": self.note,
        }  # fmt: skip


class _NoState(TensorState):
    """Nothing to remember."""


class EndlessGrammar:
    """Every token may follow but ``<pad>``, ``<begin>`` and ``<end>``: sequences run to their limit, free of charge."""

    def __init__(self, vocabulary_size: int, device: torch.device) -> None:
        self.vocabulary_size = vocabulary_size
        self._mask = torch.ones(1, vocabulary_size, dtype=torch.bool, device=device)
        self._mask[0, [PAD, BEGIN, END]] = False

    def start(self, constraint: object) -> _NoState:
        """Nothing."""
        return _NoState()

    def allocate(self, rows: int) -> _NoState:
        """Nothing."""
        return _NoState()

    def mask(self, state: _NoState, rows: int) -> Tensor:
        """The same row for all."""
        return self._mask.expand(rows, -1)

    def given(self, state: _NoState, rows: int) -> Tensor:
        """Nothing is."""
        return torch.zeros(rows, dtype=torch.bool, device=self._mask.device)

    def advance(self, state: _NoState, tokens: Tensor) -> None:
        """Nothing changes."""

    def longest(self, constraint: object) -> int:
        """No bound of its own."""
        return 1 << 30


class TimedGrammar:
    """A grammar that adds up the CPU seconds of its thread in `seconds`."""

    def __init__(self, grammar: Grammar[Any, Any]) -> None:
        self._grammar = grammar
        self.vocabulary_size = grammar.vocabulary_size
        self.seconds = 0.0

    def start(self, constraint: Any) -> Any:
        """As the grammar."""
        return self._grammar.start(constraint)

    def allocate(self, rows: int) -> Any:
        """As the grammar."""
        return self._grammar.allocate(rows)

    def longest(self, constraint: Any) -> int:
        """As the grammar."""
        return self._grammar.longest(constraint)

    def mask(self, state: Any, rows: int) -> Tensor:
        """As the grammar, timed."""
        began = time.thread_time()
        mask = self._grammar.mask(state, rows)
        self.seconds += time.thread_time() - began
        return mask

    def given(self, state: Any, rows: int) -> Tensor:
        """As the grammar, timed."""
        began = time.thread_time()
        given = self._grammar.given(state, rows)
        self.seconds += time.thread_time() - began
        return given

    def advance(self, state: Any, tokens: Tensor) -> None:
        """As the grammar, timed."""
        began = time.thread_time()
        self._grammar.advance(state, tokens)
        self.seconds += time.thread_time() - began


def bench_engine(checkpoint: Checkpoint, *, batch: int, tokens: int, with_peer: bool = True) -> dict[str, Any]:
    """The engine with and without grammar, Hugging Face `generate` with its cache, and a loop without a cache.

    One CPU thread each, the same weights, `batch` sequences of `tokens` tokens, the fastest of three rounds that take
    turns. `grammar_overhead` is the grammar's CPU time over all other CPU time of one run, which is steadier than the
    quotient of two runs. The uncached loop is timed once at nine prefix lengths and summed by the trapezoid rule; run
    whole it would take minutes.

    Raises:
        PackageMissing: `with_peer` and transformers is not installed.
    """
    torch.set_num_threads(1)
    network, device = checkpoint.network, torch.device("cpu")
    grammar = DeviceLines().grammar(device)
    endless = EndlessGrammar(network.config.vocab, device)
    ruled = Prompt((BEGIN,), TopologyConstraint(min_devices=MAX_DEVICES))
    free = Prompt((BEGIN,), None)
    ways: dict[str, Callable[[], Timing]] = {
        "engine": lambda: _time_engine("engine, with grammar", network, grammar, ruled, batch, tokens),
        "engine_bfloat16": lambda: _time_engine(
            "engine, with grammar, bfloat16", network, grammar, ruled, batch, tokens, "bfloat16"
        ),
        "engine_free": lambda: _time_engine("engine, without grammar", network, endless, free, batch, tokens),
    }
    if with_peer:
        ways["hugging_face"] = lambda: _time_hugging_face(network, batch, tokens, torch.float32)
        ways["hugging_face_bfloat16"] = lambda: _time_hugging_face(network, batch, tokens, torch.bfloat16)
    rounds = [{name: way() for name, way in ways.items()} for _ in range(_ROUNDS)]
    timings = {name: min((each[name] for each in rounds), key=lambda timing: timing.cpu_s) for name in ways}
    timings["uncached"] = _time_uncached(network, batch, tokens)

    def rate(name: str) -> float:
        return timings[name].tokens / timings[name].cpu_s

    timed = TimedGrammar(grammar)
    whole = _time_engine("", network, timed, ruled, batch, tokens)
    ratios = {
        "engine_to_uncached": round(rate("engine") / rate("uncached"), 1),
        "engine_free_to_engine": round(rate("engine_free") / rate("engine"), 3),
        "grammar_overhead": round(timed.seconds / (whole.cpu_s - timed.seconds), 4),
    }
    if with_peer:
        ratios["engine_to_hugging_face"] = round(rate("engine") / rate("hugging_face"), 2)
        ratios["engine_bfloat16_to_hugging_face"] = round(rate("engine_bfloat16") / rate("hugging_face"), 2)
        ratios["engine_bfloat16_to_hugging_face_bfloat16"] = round(
            rate("engine_bfloat16") / rate("hugging_face_bfloat16"), 2
        )
    return {
        "model": checkpoint.name, "parameters": network.parameter_count(), "batch": batch, "tokens": tokens,
        "timings": [timing.as_json() for timing in timings.values()], "ratios": ratios,
    }  # fmt: skip


def _timed(name: str, tokens: int, work: Callable[[], None], note: str = "") -> Timing:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Timing(name, tokens, time.process_time() - cpu, time.perf_counter() - wall, note)


def _time_engine(
    name: str, network: Decoder, grammar: Grammar[Any, Any], prompt: Prompt, batch: int, tokens: int,
    precision: Precision = "float32",
) -> Timing:  # fmt: skip
    """A warm engine on `batch` sequences that all run to `tokens` new tokens."""
    engine = Engine(network, grammar, slots=batch, device=torch.device("cpu"), threads=1, precision=precision)

    def run(length: int, seed: int) -> None:
        left = threading.Semaphore(0)
        outcomes: list[Completion | BaseException] = []

        def on_done(outcome: Completion | BaseException) -> None:
            outcomes.append(outcome)
            left.release()

        for index in range(batch):
            sequence = Sequence(prompt, stream_key(seed, index), _TEMPERATURE, 1.0, length + len(prompt.tokens))
            engine.submit(sequence, on_done)
        for _ in range(batch):
            left.acquire()
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    try:
        run(8, 0)
        return _timed(name, batch * tokens, lambda: run(tokens, 1))
    finally:
        engine.close()


def _time_uncached(network: Decoder, batch: int, tokens: int) -> Timing:
    """Each token from a whole forward pass over its prefix, as in the simplest public samplers."""
    lengths = sorted({max(1, tokens * step // 8) for step in range(1, 9)} | {1})
    ids = torch.randint(3, network.config.vocab, (batch, tokens))
    everything = torch.ones(batch, network.config.vocab, dtype=torch.bool)
    temperature, draws = torch.full((batch,), _TEMPERATURE), torch.rand(batch, dtype=torch.float64)
    cpu, wall = [], []

    def step(length: int) -> None:
        sample(network(ids[:, :length])[:, -1], everything, temperature, None, draws)

    with torch.inference_mode():
        step(8)
        for length in lengths:
            timing = _timed("", batch, partial(step, length))
            cpu.append(timing.cpu_s)
            wall.append(timing.wall_s)
    return Timing(
        "loop without a cache", batch * tokens, _trapezoid(lengths, cpu), _trapezoid(lengths, wall),
        f"timed at prefixes {', '.join(map(str, lengths))} and summed",
    )  # fmt: skip


def _trapezoid(lengths: list[int], seconds: list[float]) -> float:
    """The sum over every length from 1 to the last, linear in between."""
    total = seconds[0]
    for first, second, before, after in zip(lengths, lengths[1:], seconds, seconds[1:], strict=False):
        steps = second - first
        total += steps * (before + after) / 2 + (after - before) / 2
    return total


def _time_hugging_face(network: Decoder, batch: int, tokens: int, precision: torch.dtype) -> Timing:
    """`generate` of transformers with its default key-value cache, sampling at the same temperature."""
    peer = transformers_twin(network).to(precision)
    ids = torch.full((batch, 1), BEGIN)
    settings: dict[str, Any] = {
        "do_sample": True, "temperature": _TEMPERATURE, "top_k": 0, "top_p": 1.0, "use_cache": True,
        "attention_mask": torch.ones_like(ids), "pad_token_id": PAD,
    }  # fmt: skip

    def run(length: int) -> None:
        peer.generate(ids, min_new_tokens=length, max_new_tokens=length, **settings)

    with torch.inference_mode():
        run(8)
        return _timed(f"Hugging Face generate, with cache, {str(precision)[6:]}", batch * tokens, lambda: run(tokens))


def transformers_twin(network: Decoder) -> Any:
    """The same weights in transformers' LlamaForCausalLM, or in Qwen3ForCausalLM where queries and keys are normalised;
    its scores equal ours up to rounding.

    Raises:
        PackageMissing: transformers is not installed.
    """
    try:
        from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM
    except ImportError:
        raise PackageMissing("transformers", "the comparison with Hugging Face generate", "bench") from None
    c = network.config
    config, model = (Qwen3Config, Qwen3ForCausalLM) if c.qk_norm else (LlamaConfig, LlamaForCausalLM)
    twin = model(
        config(
            vocab_size=c.vocab,
            hidden_size=c.width,
            intermediate_size=c.mlp_width,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            head_dim=c.head_width,
            rms_norm_eps=NORM_EPSILON,
            tie_word_embeddings=True,
            max_position_embeddings=1 << 16,
            rope_theta=c.rotary_base,
            bos_token_id=BEGIN,
            eos_token_id=END,
            pad_token_id=PAD,
        )
    ).eval()
    ours = network.state_dict()
    theirs = {"model.embed_tokens.weight": ours["embedding.weight"], "model.norm.weight": ours["final_norm.weight"]}
    kv_width = c.kv_heads * c.head_width
    for n in range(c.layers):
        mine, its = f"layers.{n}.", f"model.layers.{n}."
        q, k, v = ours[mine + "attention.qkv.weight"].split((c.width, kv_width, kv_width))
        gate, up = ours[mine + "mlp.gate_up.weight"].chunk(2)
        theirs |= {
            its + "self_attn.q_proj.weight": q, its + "self_attn.k_proj.weight": k, its + "self_attn.v_proj.weight": v,
            its + "self_attn.o_proj.weight": ours[mine + "attention.output.weight"],
            its + "mlp.gate_proj.weight": gate, its + "mlp.up_proj.weight": up,
            its + "mlp.down_proj.weight": ours[mine + "mlp.down.weight"],
            its + "input_layernorm.weight": ours[mine + "attention_norm.weight"],
            its + "post_attention_layernorm.weight": ours[mine + "mlp_norm.weight"],
        }  # fmt: skip
        if c.qk_norm:
            for name in ("query", "key"):
                theirs[f"{its}self_attn.{name[0]}_norm.weight"] = ours[f"{mine}attention.{name}_norm.weight"]
    twin.load_state_dict({**theirs, "lm_head.weight": ours["embedding.weight"]})
    return twin
