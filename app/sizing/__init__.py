"""Sizes that make a circuit meet a specification, found with as few real simulations as possible."""
