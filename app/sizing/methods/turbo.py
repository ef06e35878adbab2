"""Bayesian optimisation of the figure of merit in a trust region: see `_turbo`."""

from app.sizing._base import sizing_methods
from app.sizing.methods._late import LateMethod

sizing_methods.add(
    "turbo",
    LateMethod(
        summary="Bayesian optimisation of the figure of merit in a trust region (TuRBO-1)",
        reference="eriksson2019turbo",
        uses_model=False,
        module="app.sizing.methods._turbo",
    ),
)
