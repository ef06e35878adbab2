"""What the operator of a service may choose, read once from JOSEPHSON_* variables and passed down as an argument.

Knows neither requests nor models: a request's settings are in `requests.py`, a network's are saved beside its weights.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import InvalidRequest
from app.resources import user_data_dir

PREFIX = "JOSEPHSON_"

#: Variables of the same prefix that other parts read: cards of technologies, the simulator's library, and the test
#: suite's corpora.
OTHER_VARIABLES = frozenset({"JOSEPHSON_CARDS_DIR", "JOSEPHSON_NGSPICE_LIBRARY", "JOSEPHSON_SHARED_DATA"})


def _ledger_in(data: Mapping[str, object]) -> str:
    return f"sqlite:///{data['data_dir']}/jobs.sqlite3"


def _cpu_count() -> int:
    return max(1, os.cpu_count() or 1)


class Settings(BaseSettings):
    """The service's settings, frozen; an unknown key is an error. A variable is ``JOSEPHSON_`` and the name."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, validate_default=True)

    data_dir: Path = Field(
        default_factory=user_data_dir, description="Ledger, caches, fetched libraries, added technologies."
    )
    database_url: str = Field(
        default_factory=_ledger_in, min_length=1, description="Of the ledger: sqlite:/// or postgresql+psycopg://."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65_535, description="Port to listen on; 0 lets the system choose.")
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Host names that requests may carry, comma-separated; '*' is any. "
        "Empty: loopback names where the service listens on a loopback address, else any.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Accelerator of the engine.")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Of the engine's matrix products. bfloat16 is faster where the processor has it; a seed's circuits "
        "are the same on every run of one precision.",
    )
    engine_slots: int = Field(64, ge=1, le=65_536, description="Sequences that the engine decodes at once.")
    threads: int = Field(1, ge=1, le=1_024, description="CPU threads of each model's engine.")
    validator_workers: int = Field(
        default_factory=_cpu_count, ge=1, le=1_024, description="Worker processes for ngspice, and as many for Qiskit."
    )
    models_dir: Path | None = Field(None, description="Folder of trained models; the shipped ones when absent.")
    max_body_bytes: int = Field(2_000_000, ge=1_024, description="Largest request body.")
    inline_deadline_s: float = Field(60.0, gt=0, le=3_600, description="Time that an inline call may take.")
    max_running_chunks: int = Field(4, ge=1, le=1_024, description="Chunks of jobs that run at once.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe log line that is written."
    )

    @field_validator("allowed_hosts", mode="before")
    @classmethod
    def _split(cls, names: object) -> object:
        return tuple(name.strip() for name in names.split(",") if name.strip()) if isinstance(names, str) else names

    @field_validator("data_dir", "models_dir")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()


def read_settings(**chosen: Any) -> Settings:
    """The settings of this process: what was chosen, else the variables, else the defaults.

    Raises:
        InvalidRequest: A value is out of its range or a name is unknown; the sentence names each and its variable.
    """
    try:
        return Settings(**chosen)
    except ValidationError as error:
        sentences = [
            f"{each['loc'][0]} (variable {PREFIX}{str(each['loc'][0]).upper()}): {each['msg']}"
            for each in error.errors()
            if each["type"] != "default_factory_not_called"
        ]
        raise InvalidRequest("; ".join(sentences)) from None


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """One sentence for each JOSEPHSON_* variable that nothing reads, with the nearest name that something does."""
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    sentences = []
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, n=1)
            proposal = f"; did you mean {near[0]}?" if near else ""
            sentences.append(f"{name} is set, but no setting has that name{proposal}")
    return tuple(sentences)
