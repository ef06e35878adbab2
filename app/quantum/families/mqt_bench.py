"""The benchmark circuits of MQT Bench: at its algorithm level, its target-independent level, and in native gates.

Left out: the quantum walk, which is reserved for evaluation, Shor's algorithm, which is too long, and circuits with
conditions on more than one bit. MQT Bench gives every ansatz the same parameter values; here programs draw their own.

Reference:
    [quetschlich2023mqtbench].
"""

from __future__ import annotations

import math
import random
from typing import Any

from app.errors import PackageMissing
from app.quantum.families._base import Build, Builder, Kind, builder_groups, ladder
from app.quantum.families._rewritten import NATIVE_GATES, in_gates
from app.quantum.program import QuantumProgram
from app.quantum.qiskit_circuits import program_of

#: Optimisation level of the target-independent circuits.
_INDEPENDENT_LEVEL = 2

#: Optimisation level of the circuits in native gates.
_NATIVE_LEVEL = 1


def _benchmark(name: str, level: str, **choices: tuple[Any, ...]) -> Build:
    """Builds benchmark `name` with one of the `choices` for each of its options."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        try:
            from mqt.bench import get_benchmark_alg, get_benchmark_indep
        except ImportError:
            raise PackageMissing("mqt.bench", "building the benchmark circuits", "train") from None

        options = {option: rng.choice(values) for option, values in choices.items()}
        if name == "bv":
            options["hidden_string"] = format(rng.randrange(1, 2 ** (size - 1)), f"0{size - 1}b")
        circuit = get_benchmark_alg(name, size, random_parameters=False, **options)
        circuit = circuit.assign_parameters([rng.uniform(0, 2 * math.pi) for _ in circuit.parameters])
        if level == "indep":
            circuit = get_benchmark_indep(circuit, None, _INDEPENDENT_LEVEL)
        elif level == "native":
            return in_gates(circuit, rng.choice(NATIVE_GATES), _NATIVE_LEVEL)
        return program_of(circuit)

    return build


_SEEDS = (1, 2, 3, 4)
_ENTANGLEMENTS = {
    "entanglement": ("linear", "reverse_linear", "circular", "full", "pairwise", "sca"),
    "reps": (1, 2, 3),
}

#: Most qubits of amplitude estimation. Its gate is squared once for each of them in floating point, which on some
#: processors is not unitary any more at 40.
_MOST_SQUARED = 32

#: Family, benchmark, sizes, draws at the algorithm level, options.
_BENCHMARKS: tuple[tuple[str, str, tuple[int, ...], int, dict[str, tuple[Any, ...]]], ...] = (
    ("adder_cdkm", "cdkm_ripple_carry_adder", tuple(range(6, 58, 2)), 1, {"kind": ("half",)}),
    ("adder_cdkm", "cdkm_ripple_carry_adder", tuple(range(5, 58, 2)), 1, {"kind": ("fixed",)}),
    ("adder_draper", "draper_qft_adder", tuple(range(4, 50, 2)), 1, {"kind": ("fixed",)}),
    ("adder_draper", "draper_qft_adder", tuple(range(3, 50, 2)), 1, {"kind": ("half",)}),
    ("adder_full", "full_adder", tuple(range(4, 50, 2)), 1, {}),
    ("adder_half", "half_adder", tuple(range(3, 26, 2)), 1, {}),
    ("adder_modular", "modular_adder", tuple(range(4, 50, 2)), 1, {}),
    ("adder_vbe", "vbe_ripple_carry_adder", tuple(range(4, 65, 3)), 1, {"kind": ("full",)}),
    ("adder_vbe", "vbe_ripple_carry_adder", tuple(range(6, 65, 3)), 1, {"kind": ("half",)}),
    ("amplitude_estimation", "ae", ladder(2, _MOST_SQUARED), 4, {"probability": (0.1, 0.2, 0.35, 0.5)}),
    ("bernstein_vazirani", "bv", ladder(2, 64), 3, {}),
    ("deutsch_jozsa", "dj", ladder(2, 64), 2, {"balanced": (True, True, False)}),
    ("ghz", "ghz", ladder(2, 48), 1, {}),
    ("graph_state", "graphstate", tuple(range(4, 50, 2)), 4, {"degree": (2, 3), "seed": _SEEDS}),
    ("graph_state", "graphstate", tuple(range(3, 49, 2)), 2, {"degree": (2,), "seed": _SEEDS}),
    ("grover", "grover", (3, 4, 5), 1, {}),
    ("hhl", "hhl", ladder(3, 32), 1, {}),
    ("multiplier", "multiplier", (4, 8, 12), 1, {}),
    ("multiplier_hrs", "hrs_cumulative_multiplier", (5, 9, 13, 17), 1, {}),
    ("multiplier_rg_qft", "rg_qft_multiplier", (4, 8, 12), 1, {}),
    ("qaoa", "qaoa", ladder(2, 48), 5, {"repetitions": (1, 2, 3), "seed": _SEEDS}),
    ("qft", "qft", ladder(2, 48), 1, {}),
    ("qft_dynamic", "dynamic_qft", ladder(2, 40), 1, {}),
    ("qft_entangled", "qftentangled", ladder(2, 48), 1, {}),
    ("qnn", "qnn", ladder(2, 48), 2, {}),
    ("qpe_exact", "qpeexact", ladder(2, 48), 1, {}),
    ("qpe_iterative", "iqpe", ladder(2, 40), 3, {"exact": (True, False), "seed": _SEEDS}),
    ("qpe_inexact", "qpeinexact", ladder(2, 48), 1, {}),
    ("quark_cardinality", "bmw_quark_cardinality", ladder(2, 48), 4, {"depth": (1, 2, 3, 4, 5)}),
    ("quark_copula", "bmw_quark_copula", tuple(range(2, 50, 2)), 4, {"depth": (1, 2, 3, 4, 5)}),
    ("random", "randomcircuit", ladder(2, 16), 1, {}),
    ("vqe_efficient_su2", "vqe_su2", ladder(2, 48), 8, _ENTANGLEMENTS),
    ("vqe_real_amplitudes", "vqe_real_amp", ladder(2, 48), 8, _ENTANGLEMENTS),
    ("vqe_two_local", "vqe_two_local", ladder(2, 48), 4, _ENTANGLEMENTS),
    ("w_state", "wstate", ladder(2, 48), 1, {}),
)

#: Target-independent circuits that are the same as those of the algorithm level, or far too long; and native circuits
#: that the compiler simplified until nothing is asked of the oracle.
_LEFT_OUT = frozenset(
    (
        ("cdkm_ripple_carry_adder", "indep"), ("ghz", "indep"), ("graphstate", "indep"), ("grover", "indep"),
        ("dj", "native"),
    )
)  # fmt: skip

#: Benchmarks that an oracle judges and that have few programs on few qubits: these are rewritten.
_REWRITTEN = frozenset(
    (
        "cdkm_ripple_carry_adder", "draper_qft_adder", "half_adder", "modular_adder", "vbe_ripple_carry_adder", "bv",
        "ghz", "grover", "qft", "qftentangled", "qpeexact", "qpeinexact", "wstate",
    )
)  # fmt: skip

#: Benchmarks whose gates depend on measured bits: compilers are not asked for them.
_DYNAMIC = frozenset(("dynamic_qft", "iqpe"))


def _builders() -> tuple[Builder, ...]:
    builders = []
    for family, name, sizes, draws, options in _BENCHMARKS:
        kind: Kind = "random" if family == "random" else "algorithm"
        told = "".join(f"_{values[0]}" for values in options.values() if len(values) == 1)
        for level in ("alg", "indep", "native"):
            if level == "alg" or (name not in _DYNAMIC and (name, level) not in _LEFT_OUT):
                build = _benchmark(name, level, **options)
                count = draws if level == "alg" else 1
                few = tuple(size for size in sizes if size <= 10) if level == "alg" and name in _REWRITTEN else ()
                builders.append(Builder(family, f"{name}{told}_{level}", build, sizes, count, kind, "mqt.bench", few))
    return tuple(builders)


builder_groups.add("mqt_bench", _builders())
