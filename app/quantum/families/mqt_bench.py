"""The benchmark circuits of MQT Bench, at its algorithm level and its target-independent level.

Left out: circuits with classical control, and the quantum walk, which is reserved for evaluation. MQT Bench gives every
ansatz the same parameter values; here each program draws its own.

Reference:
    [quetschlich2023mqtbench].
"""

from __future__ import annotations

import math
import random
from typing import Any

from app.errors import PackageMissing
from app.quantum.families._base import Build, Builder, Kind, builder_groups, ladder
from app.quantum.program import QuantumProgram
from app.quantum.qiskit_circuits import program_of

#: Optimisation level of the target-independent circuits.
_INDEPENDENT_LEVEL = 2


def _benchmark(name: str, level: str, **choices: tuple[Any, ...]) -> Build:
    """Builds benchmark `name` with one of the `choices` for each of its options."""

    def build(size: int, rng: random.Random) -> QuantumProgram:
        try:
            from mqt.bench import get_benchmark_alg, get_benchmark_indep
        except ImportError:
            raise PackageMissing("mqt.bench", "building the benchmark circuits", "train") from None

        options = {option: rng.choice(values) for option, values in choices.items()}
        if name == "bv":
            options["hidden_string"] = "".join(rng.choice("01") for _ in range(size - 1))
        circuit = get_benchmark_alg(name, size, random_parameters=False, **options)
        circuit = circuit.assign_parameters([rng.uniform(0, 2 * math.pi) for _ in circuit.parameters])
        if level == "indep":
            circuit = get_benchmark_indep(circuit, None, _INDEPENDENT_LEVEL)
        return program_of(circuit)

    return build


_SEEDS = (1, 2, 3, 4)
_ENTANGLEMENTS = {
    "entanglement": ("linear", "reverse_linear", "circular", "full", "pairwise", "sca"),
    "reps": (1, 2, 3),
}

#: Family, benchmark, sizes, draws at the algorithm level, options.
_BENCHMARKS: tuple[tuple[str, str, tuple[int, ...], int, dict[str, tuple[Any, ...]]], ...] = (
    ("adder_cdkm", "cdkm_ripple_carry_adder", tuple(range(6, 42, 2)), 1, {"kind": ("half",)}),
    ("adder_draper", "draper_qft_adder", tuple(range(4, 42, 2)), 1, {"kind": ("fixed",)}),
    ("adder_half", "half_adder", tuple(range(3, 26, 2)), 1, {}),
    ("adder_modular", "modular_adder", tuple(range(4, 42, 4)), 1, {}),
    ("amplitude_estimation", "ae", ladder(2, 30), 3, {"probability": (0.1, 0.2, 0.35, 0.5)}),
    ("bernstein_vazirani", "bv", ladder(3, 48), 2, {}),
    ("deutsch_jozsa", "dj", ladder(3, 48), 2, {"balanced": (True, True, False)}),
    ("ghz", "ghz", ladder(3, 40), 1, {}),
    ("graph_state", "graphstate", tuple(range(4, 42, 2)), 3, {"degree": (2, 3), "seed": _SEEDS}),
    ("grover", "grover", (3, 4, 5), 1, {}),
    ("hhl", "hhl", ladder(4, 24), 1, {}),
    ("multiplier", "multiplier", (4, 8, 12), 1, {}),
    ("qaoa", "qaoa", ladder(3, 40), 3, {"repetitions": (1, 2, 3), "seed": _SEEDS}),
    ("qft", "qft", ladder(2, 40), 1, {}),
    ("qft_entangled", "qftentangled", ladder(2, 40), 1, {}),
    ("qnn", "qnn", ladder(2, 40), 2, {}),
    ("qpe_exact", "qpeexact", ladder(3, 40), 1, {}),
    ("qpe_inexact", "qpeinexact", ladder(3, 40), 1, {}),
    ("quark_cardinality", "bmw_quark_cardinality", ladder(3, 40), 3, {"depth": (1, 2, 3, 5)}),
    ("quark_copula", "bmw_quark_copula", tuple(range(2, 42, 2)), 3, {"depth": (1, 2, 3, 5)}),
    ("random", "randomcircuit", ladder(2, 16), 1, {}),
    ("vqe_efficient_su2", "vqe_su2", ladder(3, 40), 2, _ENTANGLEMENTS),
    ("vqe_real_amplitudes", "vqe_real_amp", ladder(3, 40), 2, _ENTANGLEMENTS),
    ("vqe_two_local", "vqe_two_local", ladder(3, 40), 2, _ENTANGLEMENTS),
    ("w_state", "wstate", ladder(3, 40), 1, {}),
)

#: Benchmarks whose target-independent circuits are the same as those of the algorithm level, or far too long.
_ALGORITHM_LEVEL_ONLY = frozenset(("cdkm_ripple_carry_adder", "ghz", "graphstate", "grover"))


def _builders() -> tuple[Builder, ...]:
    builders = []
    for family, name, sizes, draws, options in _BENCHMARKS:
        kind: Kind = "random" if family == "random" else "algorithm"
        for level in ("alg", "indep"):
            if level == "alg" or name not in _ALGORITHM_LEVEL_ONLY:
                build = _benchmark(name, level, **options)
                count = draws if level == "alg" else 1
                builders.append(Builder(family, f"{name}_{level}", build, sizes, count, kind, "mqt.bench"))
    return tuple(builders)


builder_groups.add("mqt_bench", _builders())
