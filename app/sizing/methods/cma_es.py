"""Covariance matrix adaptation around the starting sizes: see `_cma_es`."""

from app.sizing._base import sizing_methods
from app.sizing.methods._late import LateMethod

sizing_methods.add(
    "cma-es",
    LateMethod(
        summary="covariance matrix adaptation evolution strategy from the gm/Id start",
        reference="hansen2016cma",
        uses_model=False,
        module="app.sizing.methods._cma_es",
    ),
)
