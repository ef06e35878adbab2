"""The names that label quantum programs: the vocabulary of "what is this circuit for". Builders are in `families/`."""

from __future__ import annotations

#: Every family that a model may be asked for, in vocabulary order: new names come last. Reserved families (corpus.py)
#: are not among them. In programs of the families called `dynamic`, of `long_range_cx`, of `measurement_based` and of
#: `qpe_iterative`, gates depend on measured bits.
FAMILIES = (
    "adder_cdkm", "adder_draper", "adder_half", "adder_modular", "adder_qft_const", "adder_scaffold", "adder_vbe",
    "amplitude_estimation", "basis_change", "basis_test", "bb84", "bell", "bernstein_vazirani", "bit_flip_oracle",
    "clifford", "comparator", "deutsch_jozsa", "diagonal", "dicke", "entanglement_swap", "error_correctiond3",
    "fredkin", "ghz", "graph_state", "grover", "hadamard_test", "hhl", "hidden_linear_function", "hidden_shift",
    "hidden_subgroup", "inner_product", "iqp", "iswap", "lpn", "mirror", "multiplier", "multiplier_hrs",
    "multiplier_rg_qft", "pauli_evolution", "pauli_feature_map", "pauli_rotations", "pauli_two_design", "permutation",
    "qaoa", "qcnn", "qec_five_qubit", "qec_repetition", "qec_shor9", "qec_surface", "qft", "qft_entangled", "qnn",
    "qpe", "qpe_exact", "qpe_inexact", "qram", "qrng", "quadratic_form", "quantum_counting", "quantum_volume",
    "quark_cardinality", "quark_copula", "random", "sat", "seca", "shor", "simon", "square_root",
    "state_preparation", "superdense", "teleportation", "toffoli", "tree_tensor_network", "trotter_heisenberg",
    "trotter_tfim", "trotter_xy", "uniformly_controlled", "vqe_brickwork", "vqe_efficient_su2",
    "vqe_excitation_preserving", "vqe_n_local", "vqe_other", "vqe_real_amplitudes", "vqe_two_local", "vqe_uccsd",
    "w_state", "z_feature_map", "zz_feature_map",
    "adder_full", "annealing", "block_encoding", "chsh", "cnot_network", "data_reuploading", "ghz_dynamic",
    "incrementer", "long_range_cx", "matrix_product_state", "measurement_based", "mera", "qaoa_xy", "qec_dynamic",
    "qec_steane", "qft_dynamic", "qpe_iterative", "qsvt", "quantum_kernel", "random_grid", "randomized_benchmarking",
    "swap_network", "teleportation_dynamic", "trotter_hubbard", "weighted_sum",
)  # fmt: skip
