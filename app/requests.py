"""What callers may ask for: the same bodies for inline calls, jobs and the command line. An unknown key is an error."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from app.analog.kinds import CIRCUIT_TYPES
from app.errors import InvalidRequest, UnknownName
from app.quantum.coupling import CouplingName
from app.quantum.gates import GATES
from app.specification_words import CornerSet, Goal, Objective, read_bound
from app.technologies._base import DEFAULT_TECHNOLOGY
from app.validators._base import Rung
from app.validators.transpilation import DEFAULT_BASIS, TranspileTarget

#: Most rows of one job, of an inline call, and of an inline prediction.
MAX_JOB_COUNT = 1_000_000
MAX_INLINE_COUNT = 256
MAX_PREDICTED_INLINE = 4096

#: Most sizings of one circuit that a job runs, most corners that a specification lists, and most of its bounds.
MAX_RUNS = 1000
MAX_CORNERS = 32
MAX_BOUNDS = 64

#: Most topologies that a design looks at.
MAX_CANDIDATES = 256

#: Name of the model that predicts: its folder in the folder of models.
NEURAL_SIMULATOR = "simulator"

#: The sizing method that is used where none is named.
DEFAULT_SIZING_METHOD = "insight-m"

#: Largest netlist or program text that a validate call reads, in characters.
MAX_TEXT_LENGTH = 1_000_000

Seed = Annotated[int, Field(ge=0, lt=2**63, description="Source of all randomness; the same seed gives the same rows.")]
Count = Annotated[int, Field(ge=1, le=MAX_JOB_COUNT, description="How many circuits.")]
Name = Annotated[str, Field(max_length=100)]
ProgramFormat = Literal["qasm2", "qasm3"]
TopP = Annotated[
    float,
    Field(gt=0.0, le=1.0, allow_inf_nan=False, description="Nucleus: smallest set of tokens with this mass."),
]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class JobRequest(_Request):
    """What is done row by row: row ``i`` of `row_count` depends on (seed, i) and the request alone.

    `rows_key` names the list of rows in an answer, `noun` what a row is about, `most_inline` is the most rows of an
    inline call, `count_pointer` the field that says how many there are. `chunk_rows` is how many rows of a job are made
    together, None where that follows from how many there are. Where `follows_rows`, rows of a job are made after others
    in the knowledge of these, which `following` hands on.
    """

    rows_key: ClassVar[str] = "circuits"
    noun: ClassVar[str] = "circuits"
    most_inline: ClassVar[int] = MAX_INLINE_COUNT
    chunk_rows: ClassVar[int | None] = None
    follows_rows: ClassVar[bool] = False

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

    def following(self, rows: Iterable[Mapping[str, Any]]) -> Self:
        """The request for the rows that are missing when these are there."""
        return self


class GenerateRequest(JobRequest):
    """What both kinds of generation share."""

    count: Count = 1
    temperature: float = Field(0.9, ge=0.05, le=2.0, allow_inf_nan=False, description="Of sampling.")
    top_p: TopP = 1.0
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

    top_p: TopP = 0.95
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
    format: ProgramFormat = Field("qasm2", description="OpenQASM version of `program`.")
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
    attempts: int = Field(
        8, ge=1, le=64,
        description="With verify: most programs that are drawn for one row. The first is drawn at the temperature "
        "asked for, each further one at a cooler one.",
    )  # fmt: skip

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
    adapt: bool = Field(
        True, description="Predictions follow what was simulated of this circuit on this installation; false: they do "
        "not, and are the same everywhere."
    )  # fmt: skip

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


class BoundRequest(_Request):
    """What a metric has to keep at every corner. Written as a text, it is ``gain_db>60``."""

    metric: Name = Field(description="A metric of the testbench.")
    low: Number | None = Field(None, description="At least this, in the metric's SI unit.")
    high: Number | None = Field(None, description="At most this, likewise.")


def _bound_of_text(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        metric, low, high = read_bound(value)
    except InvalidRequest as error:
        raise PydanticCustomError("bound", "{reason}", {"reason": str(error)}) from None
    return {"metric": metric, "low": low, "high": high}


_AnyBound = Annotated[BoundRequest, BeforeValidator(_bound_of_text, json_schema_input_type=str | BoundRequest)]
_AnyCorner = Annotated[CornerRequest, BeforeValidator(_corner_of_name, json_schema_input_type=str | CornerRequest)]


def _form_of_corners(value: Any) -> str:
    return "each" if isinstance(value, (list, tuple)) else "set"


class SpecificationRequest(_Request):
    """What a circuit is asked for."""

    bounds: tuple[_AnyBound, ...] = Field(
        min_length=1,
        max_length=MAX_BOUNDS,
        description="What metrics have to keep: texts such as `gain_db>60`, or metric, low and high.",
    )
    objective: dict[Goal, Name] | None = Field(
        None,
        min_length=1,
        max_length=1,
        description='What to improve once every bound is met: {"minimize": METRIC} or {"maximize": METRIC}.',
    )
    settings: dict[Name, Number] = Field({}, description="Conditions of the testbench by name, in SI units.")
    supply_v: Number | None = Field(None, description="Nominal supply voltage; the technology's when absent.")
    corners: Annotated[
        Annotated[CornerSet, Tag("set")]
        | Annotated[tuple[_AnyCorner, ...], Field(min_length=1, max_length=MAX_CORNERS), Tag("each")],
        Discriminator(_form_of_corners),
    ] = Field(
        "pvt",
        description="Where bounds hold: pvt (nominal, and the slow and fast processes at the ends of supply and "
        "temperature), nominal, or a list of corners, the first of which is searched at.",
    )

    @property
    def wish(self) -> Objective | None:
        """`objective` as a value."""
        return next((Objective(metric, goal) for goal, metric in (self.objective or {}).items()), None)


class BudgetRequest(_Request):
    """How much may be spent on the search."""

    simulations: int = Field(
        200, ge=10, le=100_000, description="Most simulations, those at every corner and of the last check included."
    )
    minutes: float = Field(10.0, ge=0.1, le=1440.0, allow_inf_nan=False, description="Most minutes of wall time.")


class AnalogSizeRequest(JobRequest):
    """A netlist to be sized so that it meets a specification, by one or many runs of a method."""

    rows_key: ClassVar[str] = "rows"
    noun: ClassVar[str] = "sizings"
    chunk_rows: ClassVar[int | None] = 1

    netlist: str = Field(
        min_length=1, max_length=MAX_TEXT_LENGTH, description="SPICE element cards; sizes they carry are the start."
    )
    testbench: Name | None = Field(None, description="A name of GET /v1/testbenches.")
    type: Name | None = Field(
        None,
        validate_default=True,
        description="In place of `testbench`: a circuit type, measured on the testbench of the type that fits.",
    )
    technology: Name = Field(DEFAULT_TECHNOLOGY, description="A name of GET /v1/technologies.")
    specification: SpecificationRequest
    ports: dict[Name, Name] | None = Field(
        None, description="Role -> port, where the port's name does not say which role it plays."
    )
    method: Name = Field(DEFAULT_SIZING_METHOD, description="A name of GET /v1/sizing-methods.")
    budget: BudgetRequest = Field(BudgetRequest(), description="Of each run.")
    runs: int = Field(1, ge=1, le=MAX_RUNS, description="Independent runs, a row each; run i draws from (seed, i).")
    adapt: bool = Field(
        False,
        description="Methods that use the neural simulator begin with what was simulated of this circuit on this "
        "installation. Equal requests may then have other rows.",
    )
    include_decks: bool = Field(
        True, description="Each row also carries `decks` by corner and setup; `ngspice -b` runs each as written."
    )

    @field_validator("type")
    @classmethod
    def _one(cls, type_: str | None, info: ValidationInfo) -> str | None:
        if "testbench" in info.data and (type_ is None) == (info.data["testbench"] is None):
            raise PydanticCustomError("not_one", "a netlist is sized on a testbench or by its type; give one of them")
        return type_

    @property
    def row_count(self) -> int:
        """How many runs."""
        return self.runs

    @property
    def count_pointer(self) -> str:
        """The pointer of `runs`."""
        return "/runs"

    @property
    def made_by(self) -> None:
        """Rows are simulated, whichever model helped to find them."""
        return None


class DesignBudgetRequest(BudgetRequest):
    """How much may be spent on a design, all of its candidates together."""

    simulations: int = Field(1000, ge=10, le=1_000_000, description="Most simulations of the search.")


class SpentRequest(_Request):
    """What earlier rows of the same job used up."""

    simulations: int = Field(0, ge=0, description="Simulations.")
    seconds: float = Field(0.0, ge=0.0, allow_inf_nan=False, description="Seconds of wall time.")
    passing: int = Field(0, ge=0, description="Candidates that meet the specification.")


class AnalogDesignRequest(JobRequest):
    """Circuits of a type that meet a specification: topologies proposed, checked, sized and verified; a row each."""

    rows_key: ClassVar[str] = "candidates"
    noun: ClassVar[str] = "candidates"
    chunk_rows: ClassVar[int | None] = MAX_CANDIDATES
    follows_rows: ClassVar[bool] = True

    type: str = Field(max_length=64, description="A circuit type of GET /v1/families.")
    testbench: Name | None = Field(
        None, description="A testbench of the type; when absent, the one that measures what the specification names."
    )
    technology: Name = Field(DEFAULT_TECHNOLOGY, description="A name of GET /v1/technologies.")
    specification: SpecificationRequest
    sources: Literal["both", "archetypes", "generated"] = Field(
        "both",
        description="Where candidates come from: hand-written archetypes of the type, the generator, or both "
        "(archetypes first, at most half of the candidates).",
    )
    candidates: int = Field(48, ge=1, le=MAX_CANDIDATES, description="How many topologies are looked at.")
    max_devices: int | None = Field(None, ge=1, le=255, description="Most devices that a candidate may have.")
    enough: int = Field(
        3, ge=1, le=MAX_CANDIDATES, description="No further candidate is begun once so many meet the specification."
    )
    method: Name = Field(DEFAULT_SIZING_METHOD, description="A name of GET /v1/sizing-methods.")
    budget: DesignBudgetRequest = Field(DesignBudgetRequest(), description="Of the whole job.")
    model: str | None = Field(
        None, max_length=100, description="The generator, a name of GET /v1/models; the default one when absent."
    )
    temperature: float = Field(0.9, ge=0.05, le=2.0, allow_inf_nan=False, description="Of sampling.")
    include_decks: bool = Field(
        True, description="Sized rows also carry `decks` by corner and setup; `ngspice -b` runs each as written."
    )
    spent: SpentRequest | None = Field(
        None, description="What earlier rows of the same job used up; callers leave it out."
    )

    @property
    def row_count(self) -> int:
        """How many candidates."""
        return self.candidates

    @property
    def count_pointer(self) -> str:
        """The pointer of `candidates`."""
        return "/candidates"

    @property
    def made_by(self) -> str | None:
        """The generator's name."""
        return self.model

    def following(self, rows: Iterable[Mapping[str, Any]]) -> Self:
        """The request, which knows what the rows that are there used up."""
        there = list(rows)
        spent = SpentRequest(
            simulations=sum(row.get("simulations") or 0 for row in there),
            seconds=max((row.get("elapsed_s") or 0.0 for row in there), default=0.0),
            passing=sum(row["status"] == "ok" for row in there),
        )
        return self.model_copy(update={"spent": spent})


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
    "analog.size": AnalogSizeRequest,
    "analog.design": AnalogDesignRequest,
}


def check_inline_count(request: JobRequest) -> None:
    """An inline call asks for few rows, else InvalidRequest that points to jobs."""
    if request.row_count > request.most_inline:
        raise InvalidRequest(
            f"{request.row_count} {request.noun} are asked for, an inline call makes at most {request.most_inline}; "
            "submit a job (POST /v1/jobs)",
            pointer=request.count_pointer,
        )
