"""The corpora of quantum programs: read, rebuilt, and told apart by their skeletons."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import qasm2

from app.errors import CorpusMissing
from app.quantum.corpus import (
    MOST_ALIKE,
    RESERVED_FAMILIES,
    STATEMENTS_RANGE,
    CorpusProgram,
    Dropped,
    Sieve,
    build_family,
    known_families,
    read_rows,
)
from app.quantum.families._base import builder_groups
from app.quantum.families._rewritten import rewritten
from app.quantum.oracles import oracle_for
from app.quantum.program import Operation, QuantumProgram
from app.quantum.qasm import parse_qasm2, read_qasm2, read_qasm3, write_qasm2, write_qasm3
from app.quantum.skeleton import ngram_labels, skeleton_hash

GHZ = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\nh q[0];\ncx q[0],q[1];\n'


def row(**changes: object) -> str:
    return json.dumps(
        {"id": "a", "family": "ghz", "kind": "algorithm", "source": "test", "regenerable": True, "qasm": GHZ} | changes
    )


@pytest.fixture(scope="module")
def shared_sample(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[CorpusProgram, ...]:
    """Every 20th program of the shared corpus."""
    file = tmp_path_factory.mktemp("corpus") / "circuits.jsonl"
    with gzip.open(shared_data / "quantum" / "circuits.jsonl.gz", "rt", encoding="utf-8") as lines:
        file.write_text("".join(list(lines)[::20]), encoding="utf-8")
    return read_rows(file).programs


def relabelled(program: QuantumProgram, rng: random.Random) -> QuantumProgram:
    """The same program under other names, with other angles."""
    qubits, clbits = list(range(program.qubit_count)), list(range(program.clbit_count))
    rng.shuffle(qubits)
    rng.shuffle(clbits)
    return QuantumProgram(
        program.qubit_count,
        program.clbit_count,
        tuple(
            Operation(
                op.name,
                tuple(qubits[q] for q in op.qubits),
                tuple(rng.uniform(-3, 3) for _ in op.angles),
                None if op.clbit is None else clbits[op.clbit],
            )
            for op in program.operations
        ),
    )


def same_up_to_angle_text(program: QuantumProgram, other: QuantumProgram) -> bool:
    return [(op.name, op.qubits, op.clbit) for op in program.operations] == [
        (op.name, op.qubits, op.clbit) for op in other.operations
    ] and all(
        abs(a - b) <= 1.1e-12
        for one, two in zip(program.operations, other.operations, strict=True)
        for a, b in zip(one.angles, two.angles, strict=True)
    )


def check_round_trip(program: QuantumProgram) -> None:
    once = read_qasm3(write_qasm3(program)) if program.is_dynamic else read_qasm2(write_qasm2(program))
    assert once.notes == ()
    assert same_up_to_angle_text(program, once.program)
    if not program.is_dynamic:
        assert parse_qasm2(write_qasm2(once.program)) == once.program
    again = read_qasm3(write_qasm3(program))
    assert again.notes == ()
    assert again.program == once.program


def check_against_qiskit(program: QuantumProgram) -> None:
    text = write_qasm2(program)
    qasm2.loads(text, strict=True)
    circuit = qasm2.loads(text)
    assert circuit.depth() == program.depth
    seen = [{"id": "u"}.get(op.name, op.name) for op in program.operations]  # the importer has no identity gate
    assert [item.operation.name for item in circuit.data] == seen


def test_programs_are_read_from_a_file_or_its_folder(tmp_path: Path) -> None:
    plain, packed = tmp_path / "circuits.jsonl", tmp_path / "packed" / "circuits.jsonl.gz"
    plain.write_text(row() + "\n")
    packed.parent.mkdir()
    packed.write_bytes(gzip.compress((row() + "\n").encode()))
    for path in (plain, tmp_path, packed, packed.parent):
        (program,) = read_rows(path).programs
        assert program == CorpusProgram(
            "a", "ghz", "algorithm", parse_qasm2(GHZ), "test", skeleton_hash(parse_qasm2(GHZ)), True
        )


def test_reserved_families_are_never_read(tmp_path: Path) -> None:
    rows = [row(family=family) for family in (*RESERVED_FAMILIES, "ghz")]
    (tmp_path / "circuits.jsonl").write_text("\n".join(rows))
    assert [program.family for program in read_rows(tmp_path).programs] == ["ghz"]


def test_a_missing_corpus_is_told_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing) as caught:
        read_rows(tmp_path)
    assert str(caught.value) == (
        f"no quantum corpus at {tmp_path} (looked for circuits.jsonl.gz and circuits.jsonl); "
        "name its folder or file, or build one from the Qiskit and mqt.bench packages"
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "JSONDecodeError("),
        ("[]", "TypeError("),
        (json.dumps({"id": "a"}), "KeyError('family')"),
        (row(kind="odd"), "\"kind 'odd' is neither 'algorithm' nor 'random'\""),
        (row(qasm="OPENQASM 2.0; h q[0];"), "QasmSyntaxError("),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    file = tmp_path / "circuits.jsonl"
    file.write_text(row() + "\n" + line + "\n")
    with pytest.raises(CorpusMissing) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file}, line 2 is not a corpus program: ")
    assert reason in str(caught.value)


def test_a_damaged_archive_is_named(tmp_path: Path) -> None:
    file = tmp_path / "circuits.jsonl.gz"
    file.write_bytes(gzip.compress(row().encode())[:-10])
    with pytest.raises(CorpusMissing) as caught:
        read_rows(file)
    assert str(caught.value).startswith(f"{file} cannot be read as a quantum corpus (")
    assert str(caught.value).endswith("); fetch it anew")


def test_every_20th_shared_circuit_keeps_its_meaning_in_both_versions(shared_sample: tuple[CorpusProgram, ...]) -> None:
    assert len(shared_sample) > 400
    for item in shared_sample:
        check_round_trip(item.program)


def test_every_60th_shared_circuit_has_the_depth_and_gates_that_qiskit_sees(
    shared_sample: tuple[CorpusProgram, ...],
) -> None:
    for item in shared_sample[::3]:
        check_against_qiskit(item.program)


@pytest.mark.slow
def test_every_shared_circuit_keeps_its_meaning_and_loads(shared_data: Path) -> None:
    for item in read_rows(shared_data / "quantum").programs:
        check_round_trip(item.program)
        check_against_qiskit(item.program)


def test_a_skeleton_is_blind_to_names_and_angles(shared_sample: tuple[CorpusProgram, ...]) -> None:
    for item in shared_sample[::5]:
        other = relabelled(item.program, random.Random(item.id))
        assert skeleton_hash(other) == item.skeleton
        assert ngram_labels(other) == ngram_labels(item.program)


def test_a_skeleton_sees_gates_order_and_sharing() -> None:
    def hash_of(body: str) -> str:
        return skeleton_hash(parse_qasm2('OPENQASM 2.0; include "qelib1.inc"; qreg q[3]; creg c[2]; ' + body))

    bodies = ("h q[0]; cx q[0],q[1];", "cx q[0],q[1]; h q[0];", "h q[0]; cx q[1],q[0];", "h q[0]; cx q[1],q[2];",
              "h q[0]; cz q[0],q[1];", "h q[0]; cx q[0],q[1]; barrier q;")  # fmt: skip
    assert len({hash_of(body) for body in bodies}) == len(bodies)
    assert hash_of("measure q[2] -> c[1];") == hash_of("measure q[0] -> c[0];")


def test_a_skeleton_and_a_label_are_the_same_on_every_machine() -> None:
    program = parse_qasm2(GHZ)
    assert skeleton_hash(program) == "3fb2965540eb4dfc684abe204bae3e3a"
    assert ngram_labels(program) == {1341053634258111922: 1}


@given(st.integers(1, 6), st.integers(1, 4))
def test_n_grams_are_counted_once_a_start(length: int, n: int) -> None:
    program = QuantumProgram(2, 0, (Operation("h", (0,)), Operation("cx", (0, 1))) * length)
    labels = ngram_labels(program, n)
    assert labels.total() == max(1, 2 * length - n + 1)
    assert all(0 <= label < 2**63 for label in labels)


def built(family: str, seed: int = 0) -> list[CorpusProgram]:
    """The programs of a family that are good enough for a corpus."""
    return [entry for entry in build_family(family, Sieve(), seed=seed) if isinstance(entry, CorpusProgram)]


def test_no_builder_makes_a_family_that_is_reserved_for_evaluation() -> None:
    assert not RESERVED_FAMILIES & set(known_families())


def test_a_build_is_the_same_every_time_and_another_under_another_seed() -> None:
    assert built("quantum_volume", 1) == built("quantum_volume", 1)
    assert built("quantum_volume", 1) != built("quantum_volume", 2)


@pytest.mark.parametrize(
    ("family", "name", "size"),
    [
        ("w_state", "controlled", 4),
        ("adder_draper", "modular", 2),
        ("grover", "v_chain", 3),
        ("simon", "random_string", 2),
    ],
)
def test_rewritten_programs_compute_the_same_in_other_gates(family: str, name: str, size: int) -> None:
    (original,) = (b for group in builder_groups.values() for b in group if (b.family, b.name) == (family, name))
    builder = rewritten(original)
    assert (builder.family, builder.name, builder.few) == (family, f"{name}_rewritten", ())
    assert builder.sizes == original.few
    oracle = oracle_for(family)
    assert oracle is not None
    written_in = set()
    for draw in range(24):
        program = builder.build(size, random.Random(draw))
        assert program == builder.build(size, random.Random(draw))
        assert oracle.check(program).passes, (draw, oracle.check(program).reason)
        written_in.add(frozenset(program.gates_used))
    assert any(gates <= {"rz", "sx", "x", "cz"} for gates in written_in)
    assert any(gates <= {"rx", "ry", "rz", "rxx"} for gates in written_in)
    assert len(written_in) >= 5


def test_of_two_programs_that_are_alike_the_original_is_kept() -> None:
    entries = list(build_family("bell", Sieve()))
    is_rewritten = ["_rewritten-" in entry.id for entry in entries]
    assert is_rewritten == sorted(is_rewritten)
    kept = Counter(new for entry, new in zip(entries, is_rewritten, strict=True) if isinstance(entry, CorpusProgram))
    assert kept[True] > 20
    assert kept[False] > 20
    assert "repeated" in {entry.reason for entry in entries if isinstance(entry, Dropped)}


@pytest.mark.slow
def test_the_whole_build_is_loadable_and_varied() -> None:
    alike: dict[str, int] = {}
    families = set()
    for item in (item for family in known_families() for item in built(family)):
        program = item.program
        assert STATEMENTS_RANGE[0] <= len(program.operations) <= STATEMENTS_RANGE[1]
        assert not program.idle_qubits
        assert item.regenerable
        assert item.skeleton == skeleton_hash(program)
        alike[item.skeleton] = alike.get(item.skeleton, 0) + 1
        families.add(item.family)
        check_round_trip(program)
        if not program.is_dynamic:
            check_against_qiskit(program)
    assert families == set(known_families())
    assert max(alike.values()) <= MOST_ALIKE
    assert sum(alike.values()) > 15_000


@pytest.mark.slow
def test_what_is_built_is_what_its_family_is_for() -> None:
    judged, wrong = 0, []
    for family in known_families():
        oracle = oracle_for(family)
        for item in () if oracle is None else built(family):
            if oracle is not None and item.program.qubit_count <= 10:
                verdict = oracle.check(item.program)
                judged += verdict.is_judged
                if verdict.is_judged and not verdict.passes:
                    wrong.append((item.id, verdict.reason))
    assert judged > 3_000
    assert len(wrong) <= judged // 200, wrong
