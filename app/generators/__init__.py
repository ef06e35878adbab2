"""Proposers of circuits, one a file: `generators` lists them."""

from app.generators._base import Candidate, Generator, Plan, generators

__all__ = ["Candidate", "Generator", "Plan", "generators"]
