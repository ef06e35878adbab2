"""What callers may ask for: the same bodies for inline calls, jobs and the command line. An unknown key is an error."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest, UnknownName
from app.quantum.coupling import CouplingName
from app.quantum.gates import GATES
from app.technologies._base import DEFAULT_TECHNOLOGY
from app.validators._base import Rung
from app.validators.transpilation import DEFAULT_BASIS, TranspileTarget

#: Most rows of one job, of an inline call, and of an inline prediction.
MAX_JOB_COUNT = 1_000_000
MAX_INLINE_COUNT = 256
MAX_PREDICTED_INLINE = 4096

#: Name of the model that predicts: its folder in the folder of models.
NEURAL_SIMULATOR = "simulator"

#: Largest netlist or program text that a validate call reads, in characters.
MAX_TEXT_LENGTH = 1_000_000

Seed = Annotated[int, Field(ge=0, lt=2**63, description="Source of all randomness; the same seed gives the same rows.")]
Count = Annotated[int, Field(ge=1, le=MAX_JOB_COUNT, description="How many circuits.")]
Name = Annotated[str, Field(max_length=100)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobRequest(_Request):
    """What is done row by row: row ``i`` of `row_count` depends on (seed, i) and the request alone.

    `rows_key` names the list of rows in an answer, `noun` what a row is about, `most_inline` is the most rows of an
    inline call, `count_pointer` the field that says how many there are.
    """

    rows_key: ClassVar[str] = "circuits"
    noun: ClassVar[str] = "circuits"
    most_inline: ClassVar[int] = MAX_INLINE_COUNT

    seed: Seed | None = Field(None, description="Drawn by the service, and reported, when absent.")

    @property
    @abstractmethod
    def row_count(self) -> int:
        """How many rows the request asks for."""

    @property
    @abstractmethod
    def count_pointer(self) -> str:
        """JSON pointer of what decides `row_count`."""

    @property
    @abstractmethod
    def made_by(self) -> str | None:
        """The trained model that makes the rows, once one is named; None also where no model does."""


class GenerateRequest(JobRequest):
    """What both kinds of generation share."""

    count: Count = 1
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

    @property
    def row_count(self) -> int:
        """How many circuits."""
        return self.count

    @property
    def count_pointer(self) -> str:
        """The pointer of `count`."""
        return "/count"

    @property
    def made_by(self) -> str | None:
        """The model's name."""
        return self.model

    @property
    def rung(self) -> Rung:
        """How far each circuit is checked."""
        return "structure"


class AnalogGenerateRequest(GenerateRequest):
    """Analog topologies of a type."""

    type: str | None = Field(None, max_length=64, description="A circuit type of GET /v1/families; any when absent.")
    min_devices: int | None = Field(None, ge=1, le=255, description="Fewest devices a circuit may have.")
    max_devices: int | None = Field(None, ge=1, le=255, description="Most devices a circuit may have.")
    kinds: tuple[str, ...] | None = Field(None, max_length=16, description="Device kinds allowed; all when absent.")
    ports: tuple[str, ...] | None = Field(
        None, max_length=64, description="Ports that every circuit must have, e.g. VIN1."
    )
    prefix: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_TEXT_LENGTH,
        description="SPICE element cards of at most 200 devices that every circuit begins with: complete this netlist.",
    )
    include_deck: bool = Field(False, description="Each row also carries a deck that `ngspice -b` runs as written.")
    checks: Rung = Field(
        "operating_point",
        description="How far each circuit is checked, cheapest first: structure (wiring rules), operating_point, "
        "conduction (after a bounded bias search), function (of the row's own type, at a fixed budget of sizings).",
    )

    @property
    def rung(self) -> Rung:
        """`checks`."""
        return self.checks

    def check_names(self) -> None:
        """The type is known, else UnknownName (kinds and ports are checked by the generator's language)."""
        if self.type is not None and self.type not in CIRCUIT_TYPES:
            raise UnknownName("circuit type", self.type, CIRCUIT_TYPES, pointer="/type")


class TranspileRequest(_Request):
    """A machine that every program is transpiled to. Written as a name alone, the rest is as the defaults say."""

    target: CouplingName = Field(description="Which qubits interact: a line, ring, grid or heavy_hex, or all of them.")
    qubits: int | None = Field(
        None, ge=1, le=1_200, description="Qubits of the machine; as many as the program has when absent."
    )
    basis: tuple[Name, ...] = Field(DEFAULT_BASIS, min_length=1, max_length=64, description="The machine's own gates.")
    optimization_level: int = Field(1, ge=0, le=3, description="Of Qiskit.")
    time_limit_s: float = Field(10.0, ge=0.1, le=30.0, allow_inf_nan=False, description="For one program.")

    @field_validator("basis")
    @classmethod
    def _known(cls, basis: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [gate for gate in basis if gate not in GATES]
        if unknown:
            raise PydanticCustomError("unknown_gate", "no gate named {gate}", {"gate": repr(unknown[0])})
        if not any(GATES[gate].qubit_count == 2 for gate in basis):
            raise PydanticCustomError("no_entangling_gate", "the basis has no gate on two qubits; add one, such as cx")
        return basis

    def machine(self) -> TranspileTarget:
        """What Qiskit is told."""
        return TranspileTarget(self.target, self.qubits, self.basis, self.optimization_level, self.time_limit_s)


def _target_of_name(value: Any) -> Any:
    return {"target": value} if isinstance(value, str) else value


class QuantumGenerateRequest(GenerateRequest):
    """OpenQASM programs of a family."""

    family: str | None = Field(None, max_length=64, description="A family of GET /v1/families; any when absent.")
    qubits: int | None = Field(None, ge=1, le=128, description="Exact width; drawn by the model when absent.")
    min_gates: int | None = Field(None, ge=1, le=1023, description="Fewest statements a program may have.")
    max_gates: int | None = Field(None, ge=1, le=1023, description="Most statements a program may have.")
    min_depth: int | None = Field(
        None, ge=1, le=1024, description="Least depth wanted. The model aims at it; rows say what became of it."
    )
    max_depth: int | None = Field(None, ge=1, le=1024, description="Greatest depth wanted, likewise.")
    gate_set: tuple[str, ...] | None = Field(
        None, min_length=1, max_length=64, description="Gates allowed, e.g. rz, sx, x, cx."
    )
    coupling_map: tuple[tuple[int, int], ...] | CouplingName | None = Field(
        None,
        max_length=10_000,
        description="Pairs of qubits on which two-qubit gates may act (both directions), or the name of a map.",
    )
    prefix: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_TEXT_LENGTH,
        description="An OpenQASM program of at most 128 qubits that every program begins with: continue this one.",
    )
    dynamic: bool = Field(False, description="Gates and resets may depend on measured bits; `format` must be qasm3.")
    format: Literal["qasm2", "qasm3"] = Field("qasm2", description="OpenQASM version of `program`.")
    transpile: Annotated[
        TranspileRequest | None,
        BeforeValidator(_target_of_name, json_schema_input_type=str | TranspileRequest | None),
    ] = Field(
        None,
        description="A target by name, or with its gates and limits: rows also say what the program costs there.",
    )
    verify: bool = Field(
        False,
        description="Each row is the first of at most `attempts` draws that does what its family is for, judged by "
        "simulation; where none does, its status is rejected. The family must have an oracle.",
    )
    attempts: int = Field(8, ge=1, le=64, description="With verify: most programs that are drawn for one row.")

    @field_validator("verify")
    @classmethod
    def _is_validated(cls, verify: bool, info: ValidationInfo) -> bool:
        if verify and not info.data.get("validate_", True):
            raise PydanticCustomError("not_validated", "verified programs are validated; leave validate out")
        return verify

    @property
    def rung(self) -> Rung:
        """Up to what the family is for, where that is to be verified."""
        return "function" if self.verify else "structure"


class CornerRequest(_Request):
    """Process, supply and temperature of a simulation; what is absent is nominal."""

    process: Name | None = Field(None, description="A process corner of the technology, e.g. ss.")
    supply_v: Number | None = Field(None, description="Supply voltage.")
    celsius: Number | None = Field(None, description="Temperature.")


def _corner_of_name(value: Any) -> Any:
    return {"process": value} if isinstance(value, str) else value


class Draw(_Request):
    """Sizings that the service draws: sizing ``i`` from (seed, i)."""

    count: int = Field(ge=1, le=MAX_JOB_COUNT, description="How many sizings.")
    method: Literal["guided", "log_uniform", "start"] = Field(
        "guided",
        description="guided: around the gm/Id-guided starting point; log_uniform: over each size's whole range; "
        "start: the starting point itself.",
    )


class BenchRequest(JobRequest):
    """One netlist on a testbench, at one or many sizings. Without `sizings` and `draw`: at its starting point."""

    rows_key: ClassVar[str] = "rows"
    noun: ClassVar[str] = "sizings"

    netlist: str = Field(
        min_length=1, max_length=MAX_TEXT_LENGTH, description="SPICE element cards; sizes they carry are the start."
    )
    testbench: Name = Field(description="A name of GET /v1/testbenches.")
    technology: Name = Field(DEFAULT_TECHNOLOGY, description="A name of GET /v1/technologies.")
    corner: Annotated[
        CornerRequest | None, BeforeValidator(_corner_of_name, json_schema_input_type=str | CornerRequest | None)
    ] = Field(None, description="A process corner by name, or process, supply and temperature; nominal when absent.")
    sizings: tuple[dict[Name, Number], ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_JOB_COUNT,
        description="Values by variable, in SI units; a variable that is not named keeps its start.",
    )
    draw: Draw | None = Field(None, description="In place of `sizings`: let the service draw them.")
    metrics: tuple[Name, ...] | None = Field(
        None, min_length=1, max_length=256, description="Metrics to answer; all of the testbench when absent."
    )
    settings: dict[Name, Number] | None = Field(None, description="Conditions of the testbench by name, in SI units.")
    ports: dict[Name, Name] | None = Field(
        None, description="Role -> port, where the port's name does not say which role it plays."
    )

    @field_validator("draw")
    @classmethod
    def _either(cls, draw: Draw | None, info: ValidationInfo) -> Draw | None:
        if draw is not None and info.data.get("sizings") is not None:
            raise PydanticCustomError("both_given", "sizings and draw are both given; give one of them")
        return draw

    @property
    def row_count(self) -> int:
        """How many sizings."""
        if self.draw is not None:
            return self.draw.count
        return 1 if self.sizings is None else len(self.sizings)

    @property
    def count_pointer(self) -> str:
        """The pointer of the sizings, or of the number to draw."""
        return "/sizings" if self.draw is None else "/draw/count"


class AnalogSimulateRequest(BenchRequest):
    """Sizings of a netlist on a testbench, in ngspice."""

    include_deck: bool = Field(
        False, description="Each row also carries `decks`, one a setup; `ngspice -b` runs each as written."
    )
    include_operating_point: bool = Field(
        False, description="Each row also carries current, gm, gds and their like of every MOS transistor."
    )

    @property
    def made_by(self) -> None:
        """No trained model has a part in it."""
        return None


#: Metrics of one sizing that were simulated before, by name; None for one that has no value there.
KnownMetrics = dict[Name, Number | None]


def _form_of_known(value: Any) -> str:
    return "each" if isinstance(value, (list, tuple)) else "all"


class AnalogPredictRequest(BenchRequest):
    """Sizings of a netlist on a testbench, by the neural simulator."""

    most_inline: ClassVar[int] = MAX_PREDICTED_INLINE

    known: (
        Annotated[
            Annotated[KnownMetrics, Tag("all")] | Annotated[tuple[KnownMetrics, ...], Tag("each")],
            Discriminator(_form_of_known),
        ]
        | None
    ) = Field(
        None,
        description="Metrics that were simulated already, by name, in SI units, null for one without a value: the "
        "same for every sizing, or a list of such objects, one a sizing.",
    )
    level: Number = Field(
        0.9, gt=0, lt=1, description="Share of the truths that intervals hold: 0.5, 0.8, 0.9 or 0.95."
    )
    nearest: int = Field(1, ge=0, le=10, description="Simulated sizings that are shown beside each row, the nearest.")
    physics: bool = Field(True, description="The table simulator is asked first; false is faster and less exact.")

    @field_validator("known")
    @classmethod
    def _one_a_sizing(cls, known: Any, info: ValidationInfo) -> Any:
        if isinstance(known, tuple) and {"sizings", "draw"} <= info.data.keys():
            sizings, draw = info.data["sizings"], info.data["draw"]
            count = draw.count if draw is not None else 1 if sizings is None else len(sizings)
            if len(known) != count:
                message = "has {given} entries for {count} sizings; give one a sizing, or one object for all"
                raise PydanticCustomError("known_count", message, {"given": len(known), "count": count})
        return known

    def known_of(self, index: int) -> KnownMetrics:
        """What is known of sizing `index`."""
        return self.known[index] if isinstance(self.known, tuple) else self.known or {}

    @property
    def made_by(self) -> str:
        """The neural simulator's model."""
        return NEURAL_SIMULATOR


class AnalogValidateRequest(_Request):
    """One SPICE netlist to check."""

    netlist: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH)
    type: Name | None = Field(
        None, description="A circuit type: try on its testbenches whether some sizing does what it is for, too."
    )
    checks: Rung | None = Field(
        None,
        description="How far it is checked, cheapest first: structure (wiring rules), operating_point, conduction "
        "(after a bounded bias search), function. When absent: function where a type is given, else operating_point.",
    )

    @field_validator("checks")
    @classmethod
    def _fits_type(cls, checks: Rung | None, info: ValidationInfo) -> Rung | None:
        has_type = info.data.get("type") is not None
        if checks == "function" and not has_type:
            raise PydanticCustomError("no_type", "the function is checked for a type; give the circuit's type too")
        if checks not in (None, "function") and has_type:
            raise PydanticCustomError("both_given", "a type asks for the function; leave one of type and checks out")
        return checks

    @property
    def rung(self) -> Rung:
        """How far the netlist is checked."""
        return self.checks or ("operating_point" if self.type is None else "function")


class QuantumValidateRequest(_Request):
    """One OpenQASM program to check."""

    program: str = Field(min_length=1, max_length=MAX_TEXT_LENGTH)
    family: Name | None = Field(
        None, description="A family that has an oracle: whether the program does what it is for is checked, too."
    )


#: Job kind -> the schema of its request.
JOB_REQUESTS: dict[str, type[JobRequest]] = {
    "analog.generate": AnalogGenerateRequest,
    "quantum.generate": QuantumGenerateRequest,
    "analog.simulate": AnalogSimulateRequest,
    "analog.predict": AnalogPredictRequest,
}


def check_inline_count(request: JobRequest) -> None:
    """An inline call asks for few rows, else InvalidRequest that points to jobs."""
    if request.row_count > request.most_inline:
        raise InvalidRequest(
            f"{request.row_count} {request.noun} are asked for, an inline call makes at most {request.most_inline}; "
            "submit a job (POST /v1/jobs)",
            pointer=request.count_pointer,
        )
