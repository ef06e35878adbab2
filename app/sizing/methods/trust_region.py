"""Bayesian optimisation under constraints in a trust region: see `_trust_region`."""

from app.sizing._base import sizing_methods
from app.sizing.methods._late import LateMethod

sizing_methods.add(
    "trust-region",
    LateMethod(
        summary="Thompson sampling under constraints in a trust region, on residuals to the neural simulator",
        reference="eriksson2021scalable",
        uses_model=True,
        module="app.sizing.methods._trust_region",
    ),
)
