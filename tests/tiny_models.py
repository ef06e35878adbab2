"""Networks of a few thousand random weights, and model folders that hold them: enough for the machinery's laws."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from app.inference.cache import Precision
from app.inference.checkpoint import INDEX_NAME, save_checkpoint, seal
from app.measures.novelty import TrainingIndex
from app.nn.decoder import Decoder, DecoderConfig
from app.resources import user_data_dir
from app.tokens._base import languages

CPU = torch.device("cpu")

LANGUAGE_OF = {"analog": "device_lines", "quantum": "qasm_domain"}

torch.set_num_threads(1)  # the tests share the machine; nothing here is large enough to gain from more


def tiny_decoder(
    vocab: int, *, seed: int = 0, width: int = 16, heads: int = 2, kv_heads: int = 1, qk_norm: bool = False
) -> Decoder:
    """Two layers of random weights, large enough that scores differ by several units."""
    torch.manual_seed(seed)
    shape = DecoderConfig(
        vocab=vocab, width=width, layers=2, heads=heads, kv_heads=kv_heads, mlp_width=2 * width, context=64,
        qk_norm=qk_norm,
    )  # fmt: skip
    network = Decoder(shape).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.5)
            elif "query_norm" in name or "key_norm" in name:
                parameter.uniform_(0.5, 1.5)
    return network


def save_tiny_model(folder: Path, kind: str, *, name: str, seed: int = 0, **training: Any) -> Path:
    """`folder`/`name` is the folder of a random model of the kind."""
    language = languages[LANGUAGE_OF[kind]]
    network = tiny_decoder(len(language.vocabulary), seed=seed)
    facts = {"corpus": "nothing", "tokens_seen": 0, "held_out_nats_per_token": 6.0, **training}
    save_checkpoint(folder / name, network, language, name=name, kind=kind, training=facts)
    TrainingIndex.build([("0" * 32, Counter({1: 1}))]).save(folder / name / INDEX_NAME)
    seal(folder / name)
    return folder / name


@dataclass(frozen=True)
class TinySettings:
    """The settings of a workshop of tiny models."""

    models_dir: Path | None
    data_dir: Path = field(default_factory=user_data_dir)
    device: str = "cpu"
    engine_slots: int = 8
    precision: Precision = "float32"
    threads: int = 1
    validator_workers: int = 1
