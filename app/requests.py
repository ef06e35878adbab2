"""What callers may ask for: the same bodies for inline calls, jobs and the command line. An unknown key is an error."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest, UnknownName

#: Most circuits of one job, and of one inline call.
MAX_JOB_COUNT = 1_000_000
MAX_INLINE_COUNT = 256

#: Largest netlist or program text that a validate call reads, in characters.
MAX_TEXT_LENGTH = 1_000_000

Seed = Annotated[
    int, Field(ge=0, lt=2**63, description="Source of all randomness; the same seed gives the same circuits.")
]
Count = Annotated[int, Field(ge=1, le=MAX_JOB_COUNT, description="How many circuits.")]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class GenerateRequest(_Request):
    """What both kinds of generation share."""

    count: Count = 1
    seed: Seed | None = Field(None, description="Drawn by the service, and reported, when absent.")
    temperature: float = Field(0.9, ge=0.05, le=2.0, allow_inf_nan=False, description="Of sampling.")
    top_p: float = Field(
        1.0, gt=0.0, le=1.0, allow_inf_nan=False, description="Nucleus: smallest set of tokens with this mass."
    )
    validate_: bool = Field(True, alias="validate", description="Run the validators on every circuit.")
    model: str | None = Field(
        None, max_length=100, description="A name of GET /v1/models; the default model when absent."
    )
    grammar: bool = Field(
        True, description="Sample under the grammar (every circuit is well-formed). False shows the bare model."
    )

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class AnalogGenerateRequest(GenerateRequest):
    """Analog topologies of a type."""

    type: str | None = Field(None, max_length=64, description="A circuit type of GET /v1/families; any when absent.")
    max_devices: int | None = Field(None, ge=1, le=255, description="Most devices a circuit may have.")
    kinds: tuple[str, ...] | None = Field(None, max_length=16, description="Device kinds allowed; all when absent.")
    ports: tuple[str, ...] | None = Field(
        None, max_length=64, description="Ports that every circuit must have, e.g. VIN1."
    )
    include_deck: bool = Field(False, description="Each row also carries a deck that `ngspice -b` runs as written.")

    def check_names(self) -> None:
        """The type is known, else UnknownName (kinds and ports are checked by the generator's language)."""
        if self.type is not None and self.type not in CIRCUIT_TYPES:
            raise UnknownName("circuit type", self.type, CIRCUIT_TYPES, pointer="/type")


class QuantumGenerateRequest(GenerateRequest):
    """OpenQASM programs of a family."""

    family: str | None = Field(None, max_length=64, description="A family of GET /v1/families; any when absent.")
    qubits: int | None = Field(None, ge=1, le=128, description="Exact width; drawn by the model when absent.")
    max_gates: int | None = Field(None, ge=1, le=1024, description="Most statements a program may have.")
    gate_set: tuple[str, ...] | None = Field(
        None, min_length=1, max_length=64, description="Gates allowed, e.g. rz, sx, x, cx."
    )
    coupling_map: tuple[tuple[int, int], ...] | Literal["line", "full"] | None = Field(
        None,
        max_length=10_000,
        description="Pairs of qubits on which two-qubit gates may act (both directions), or a name.",
    )
    format: Literal["qasm2", "qasm3"] = Field("qasm2", description="OpenQASM version of `program`.")


class AnalogValidateRequest(_Request):
    """One SPICE netlist to check."""

    netlist: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH)


class QuantumValidateRequest(_Request):
    """One OpenQASM program to check."""

    program: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH)


#: Job kind -> the schema of its request.
JOB_REQUESTS: dict[str, type[GenerateRequest]] = {
    "analog.generate": AnalogGenerateRequest,
    "quantum.generate": QuantumGenerateRequest,
}


def check_inline_count(request: GenerateRequest) -> None:
    """An inline call asks for few circuits, else InvalidRequest that points to jobs."""
    if request.count > MAX_INLINE_COUNT:
        raise InvalidRequest(
            f"count is {request.count}, an inline call makes at most {MAX_INLINE_COUNT}; submit a job (POST /v1/jobs)",
            pointer="/count",
        )
