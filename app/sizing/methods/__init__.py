"""Sizing methods, one module each."""
