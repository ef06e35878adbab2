"""Checks of circuits: one module a validator. A wrong circuit is a verdict with findings, never an exception."""
