"""The command `josephson`. Its modules are light: what a command needs beyond its options loads when it runs."""

from __future__ import annotations

from app.cli.main import main

__all__ = ["main"]
