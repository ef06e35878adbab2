"""Tree-structured Parzen estimators of good and bad sizings: see `_tpe`."""

from app.sizing._base import sizing_methods
from app.sizing.methods._late import LateMethod

sizing_methods.add(
    "tpe",
    LateMethod(
        summary="tree-structured Parzen estimators, from the gm/Id start and draws around it",
        reference="bergstra2011algorithms",
        uses_model=False,
        module="app.sizing.methods._tpe",
    ),
)
