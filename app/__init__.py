"""Josephson: a generative circuit-design engine for analog topologies and OpenQASM programs."""

__version__ = "0.1.0"
