"""Testbenches: how a circuit of a type is driven, and what is read from it. One module a testbench."""
