"""Quantum programs as frozen values, OpenQASM texts, and the corpora to learn them from."""
