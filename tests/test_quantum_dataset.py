"""The programs that the quantum models learn from: sifted, split, told about, and kept on disk once they are built."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from app.errors import CorpusMissing
from app.quantum.built_corpus import built_corpus
from app.quantum.corpus import MOST_ALIKE, REASONS, CorpusProgram, Dropped, Sieve, build_family, read_rows
from app.quantum.dataset import read_dataset
from app.quantum.dataset_report import Spread
from app.quantum.qasmbench import family_of, read_qasmbench

HEADER = 'OPENQASM 2.0;\ninclude "qelib1.inc";\n'


def row(number: int, body: str, *, qubits: int = 2, family: str = "ghz", kind: str = "algorithm") -> str:
    text = f"{HEADER}qreg q[{qubits}];\ncreg c[{qubits}];\n{body}"
    return json.dumps(
        {"id": str(number), "family": family, "kind": kind, "source": "test", "regenerable": True, "qasm": text}
    )


def written(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "circuits.jsonl").write_text("\n".join(rows))
    return folder


LINE = "h q[0]; cx q[0],q[1]; x q[1];"


def test_what_cannot_be_learnt_from_is_left_out_and_told(tmp_path: Path) -> None:
    wide = "h q; " + "cx q[0],q[128];"
    source = written(
        tmp_path,
        row(1, LINE),
        row(2, "h q[1]; cx q[1],q[0]; x q[0];"),
        row(3, "h q[0]; cx q[0],q[1];"),
        row(4, "x q[0]; " * 1024),
        row(5, wide, qubits=129),
        row(6, LINE, family="homemade"),
        row(7, LINE, family="swap_test"),
        row(8, "measure q[0] -> c[0]; measure q[1] -> c[1]; h q[0];"),
        *(row(10 + n, f"rx({n}) q[0]; cx q[0],q[1]; x q[1];") for n in range(MOST_ALIKE + 2)),
    )
    dataset = read_dataset(source)
    assert {reason: tuple(ids) for reason, ids in dataset.report.dropped.items()} == {
        "repeated": ("2",), "short": ("3", "8"), "long": ("4",), "wide": ("5",), "unknown_family": ("6",),
        "reserved": ("7",), "alike": ("14", "15"),
    }  # fmt: skip
    assert set(dataset.report.dropped) < set(REASONS)
    assert [program.id for program in dataset.programs] == ["1", "10", "11", "12", "13"]
    told = dataset.report.as_text()
    assert "5 of 14 programs kept" in told
    assert "dropped 1 of a family that no model knows (6)" in told
    assert "dropped 2 of a skeleton that 4 others have\n" in told
    report = dataset.report.as_json()
    assert (report["read"], report["programs"], report["dropped"]["alike"]) == (14, 5, 2)
    assert json.loads(json.dumps(report)) == report


def test_idle_bits_are_left_out(tmp_path: Path) -> None:
    (program,) = read_dataset(
        written(tmp_path, row(1, "h q[3]; cx q[3],q[1]; measure q[1] -> c[4];", qubits=6))
    ).programs
    assert (program.program.qubit_count, program.program.clbit_count) == (2, 1)


def test_programs_of_one_skeleton_are_on_one_side(tmp_path: Path) -> None:
    bodies = [f"rx({angle}) q[0]; " + "cx q[0],q[1]; " * length for length in range(2, 42) for angle in (1, 2)]
    dataset = read_dataset(written(tmp_path, *(row(n, body) for n, body in enumerate(bodies))))
    sides = [{program.skeleton for program in side} for side in (dataset.training, dataset.held_out)]
    assert not sides[0] & sides[1]
    assert len(dataset.training) + len(dataset.held_out) == len(dataset.programs) == 80
    assert len(dataset.held_out) == dataset.report.held_out == 6
    assert dataset.report.by_family["ghz"].held_out_classes == 3
    assert (dataset.report.classes, dataset.report.largest_class) == (40, 2)


def test_a_report_counts_what_programs_have(tmp_path: Path) -> None:
    text = """OPENQASM 3.0; include "stdgates.inc"; qubit[2] a; qubit[1] b; bit[1] c;
    h a[0]; barrier a; reset b[0]; c[0] = measure a[0]; if (c[0] == 1) { x b[0]; } cx a[0], a[1];"""
    dynamic = json.dumps({**json.loads(row(1, "")), "qasm": text, "kind": "random"})
    report = read_dataset(written(tmp_path, dynamic, row(2, LINE))).report
    assert report.features == {
        "several_registers": 1, "barriers_over_some_qubits": 1, "resets": 1, "conditions": 1,
    }  # fmt: skip
    assert (report.random_by_design, report.regenerable) == (1, 2)
    assert report.gates == {"cx": 2, "x": 2, "h": 2}
    assert report.qubits == Spread(2, 2, 3, 3)


def test_a_spread_names_what_a_twentieth_exceeds() -> None:
    assert Spread.of(range(101)) == Spread(0, 50, 95, 100)
    assert Spread.of([7]).as_text() == "7 to 7, median 7, 95 % at most 7"


def test_a_corpus_of_nothing_to_learn_from_is_told(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing) as caught:
        read_dataset(written(tmp_path, row(1, "h q[0];")))
    assert str(caught.value) == (
        "none of the 1 programs that were read can be learnt from; 'josephson corpus quantum' without --source builds "
        "some from the Qiskit and mqt.bench packages"
    )


def test_a_dynamic_program_is_written_so_that_it_reads_again(tmp_path: Path) -> None:
    program = next(build_family("teleportation_dynamic", Sieve()))
    assert isinstance(program, CorpusProgram)
    (tmp_path / "circuits.jsonl").write_text(json.dumps(program.as_row()))
    (again,) = read_rows(tmp_path).programs
    assert again.program.is_dynamic
    assert again.skeleton == program.skeleton


# The cache of built programs.


def test_what_is_built_is_kept_and_read_the_next_time(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    first = built_corpus(families=["bell", "hadamard_test"], folder=tmp_path, progress=lambda *at: told.append(at))
    files = sorted(tmp_path.rglob("*.jsonl.gz"))
    assert [file.name for file in files] == ["bell.jsonl.gz", "hadamard_test.jsonl.gz"]
    times = [file.stat().st_mtime_ns for file in files]
    assert built_corpus(families=["bell", "hadamard_test"], folder=tmp_path) == first
    assert [file.stat().st_mtime_ns for file in files] == times
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]
    built = [entry for family in ("bell", "hadamard_test") for entry in build_family(family, Sieve())]
    assert [each.id for each in first.programs] == [each.id for each in built if isinstance(each, CorpusProgram)]
    assert list(first.dropped) == [each for each in built if isinstance(each, Dropped)]
    assert {dropped.reason for dropped in first.dropped} <= set(REASONS)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_build_goes_on_where_a_file_is_missing_or_damaged(tmp_path: Path) -> None:
    first = built_corpus(families=["bell", "chsh"], folder=tmp_path)
    bell, chsh = sorted(tmp_path.rglob("*.jsonl.gz"))
    untouched = chsh.stat().st_mtime_ns
    bell.write_bytes(bell.read_bytes()[:200])
    assert built_corpus(families=["bell", "chsh"], folder=tmp_path) == first
    bell.unlink()
    assert built_corpus(families=["bell", "chsh"], folder=tmp_path) == first
    assert chsh.stat().st_mtime_ns == untouched


def test_another_seed_is_another_build(tmp_path: Path) -> None:
    programs = [built_corpus(families=["bell"], seed=seed, folder=tmp_path).programs for seed in (0, 1)]
    assert programs[0] != programs[1]


# QASMBench.


def clone_of(tmp_path: Path, **bodies: str) -> Path:
    for stem, body in bodies.items():
        (tmp_path / "small" / stem).mkdir(parents=True)
        (tmp_path / "small" / stem / f"{stem}.qasm").write_text(body)
    return tmp_path


def test_a_clone_is_read_with_labels_from_its_names(tmp_path: Path) -> None:
    good = f"{HEADER}qreg q[2]; {LINE}"
    clone = clone_of(
        tmp_path, adder_n10=good, cat_state_n4_transpiled=good, mystery_n3=good, swap_test_n3=good, qft_n4="qreg",
        qft_n400=good + "x q[0];" * 60_000,
    )  # fmt: skip
    reading = read_qasmbench(clone)
    assert [(each.id, each.family, each.source, each.regenerable) for each in reading.programs] == [
        ("small/adder_n10/adder_n10.qasm", "adder_scaffold", "QASMBench", False),
        ("small/cat_state_n4_transpiled/cat_state_n4_transpiled.qasm", "ghz", "QASMBench", False),
    ]
    assert Counter(each.reason for each in reading.dropped) == {
        "unlabelled": 1, "reserved": 1, "unreadable": 1, "long": 1,
    }  # fmt: skip
    assert Dropped("small/mystery_n3/mystery_n3.qasm", "mystery_n3", "unlabelled") in reading.dropped


def test_a_name_tells_a_family() -> None:
    assert family_of("bv_n14_transpiled") == "bernstein_vazirani"
    assert family_of("basis_change_n3") == "basis_change"
    assert family_of("readme") is None


def test_a_folder_without_circuits_is_no_clone(tmp_path: Path) -> None:
    with pytest.raises(CorpusMissing) as caught:
        read_qasmbench(tmp_path)
    assert str(caught.value) == (
        f"no .qasm file below {tmp_path}, so it is no clone of QASMBench; name the folder that holds its 'small', "
        "'medium' and 'large'"
    )


@pytest.mark.slow
def test_the_built_data_set_has_many_families_of_many_sizes(tmp_path: Path) -> None:
    report = read_dataset(folder=tmp_path).report
    assert len(report.by_family) >= 100
    assert report.programs > 12_000
    assert report.classes > 11_000
    assert report.regenerable == report.programs
    assert report.qubits.most >= 120
    assert report.features["conditions"] > 500
    assert sum(count.programs >= 30 for count in report.by_family.values()) >= 95
    assert 0.07 < report.held_out / report.programs < 0.09


def test_every_shared_circuit_that_fits_is_kept(shared_data: Path, tmp_path: Path) -> None:
    with gzip.open(shared_data / "quantum" / "circuits.jsonl.gz", "rt", encoding="utf-8") as lines:
        (tmp_path / "circuits.jsonl").write_text("".join(list(lines)[::40]), encoding="utf-8")
    dataset = read_dataset(tmp_path)
    assert set(dataset.report.dropped) <= {"wide"}
    assert len(dataset.report.by_family) > 50
